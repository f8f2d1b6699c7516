// The ZIP of all colored pictures, as a stream that holds one picture at a time.
import { downloadZip } from "./client-zip.js";

/** A response with the pictures of a store, at the strength that was chosen; each has the name of its photograph. */
export function zipped(store) {
  const answer = downloadZip(pictures(store));
  answer.headers.set("Content-Disposition", 'attachment; filename="colorized.zip"');
  return answer;
}

async function* pictures(store) {
  const taken = new Set();
  for (const key of await store.keys("colored")) {
    const { name, blob } = (await store.get(["final", key[1]])) ?? (await store.get(key));
    yield { name: free(name, taken), input: blob };
  }
}

/** The name, or one with a number that no other picture has: old.jpg, old (2).jpg. */
function free(name, taken) {
  const [, stem, suffix] = name.match(/^(.*?)(\.[^.]*)?$/s);
  let found = name;
  for (let number = 2; taken.has(found.toLowerCase()); number++) found = `${stem} (${number})${suffix ?? ""}`;
  taken.add(found.toLowerCase());
  return found;
}
