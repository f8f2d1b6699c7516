// The page: photographs come in, and each gets an article; all of them can be downloaded together.
import { Photograph } from "./photograph.js";
import { openStore } from "./store.js";
import { zipped } from "./zip.js";

const [list, drop, files, all, summary, downloadAll, removeAll] = [
  "photographs", "drop", "files", "all", "summary", "download-all", "remove-all",
].map((id) => document.getElementById(id));
const photographs = new Map(); // article -> photograph
const store = openStore();
store.catch(() => {
  drop.querySelector("small").textContent = "This page needs the browser's database (IndexedDB), which is switched off for it.";
  files.disabled = true;
});
const registered = navigator.serviceWorker?.register("page/worker.js", { type: "module" }).catch(() => null);
const near = new IntersectionObserver(
  (changes) => {
    for (const { target, isIntersecting } of changes) {
      const photograph = photographs.get(target);
      if (isIntersecting) photograph?.show();
      else photograph?.hide();
    }
  },
  { rootMargin: "100% 0px" },
);

async function add(given) {
  const found = [...given];
  const kept = await store.catch(() => null);
  if (!kept) return;
  const added = found.map((file) => new Photograph(file, kept, changed));
  for (const photograph of added) photographs.set(photograph.article, photograph);
  list.prepend(...added.map((photograph) => photograph.article));
  for (const photograph of added) {
    near.observe(photograph.article);
    photograph.color();
  }
}

function changed(photograph) {
  if (photograph.state === "removed") remove(photograph.article);
  const states = [...photographs.values()].map((one) => one.state);
  const count = (state) => states.filter((one) => one === state).length;
  const [colored, failed] = [count("colored"), count("failed")];
  summary.textContent = `${colored} of ${states.length} colored${failed ? `, ${failed} failed` : ""}`;
  all.hidden = states.length === 0;
  downloadAll.disabled = colored === 0;
}

/** Removes an article; what comes after it gets the focus. */
function remove(article) {
  const focused = article.contains(document.activeElement);
  const next = article.nextElementSibling ?? article.previousElementSibling;
  near.unobserve(article);
  photographs.delete(article);
  article.remove();
  if (focused) (next?.querySelector("h2") ?? files).focus();
}

/** Downloads the ZIP from the service worker, which streams it; without one (no HTTPS), from memory. */
async function save() {
  const before = summary.textContent;
  downloadAll.disabled = true;
  try {
    for (const photograph of photographs.values()) {
      if (photograph.state === "colored") await photograph.finish();
    }
    const kept = await store;
    if ((await registered)?.active) {
      document.querySelector("iframe")?.remove();
      const src = `page/colorized.zip?${kept.session}`;
      document.body.append(Object.assign(document.createElement("iframe"), { hidden: true, title: "Download", src }));
    } else {
      const href = URL.createObjectURL(await zipped(kept).blob());
      Object.assign(document.createElement("a"), { href, download: "colorized.zip" }).click();
      setTimeout(() => URL.revokeObjectURL(href), 60_000);
    }
    summary.textContent = before;
  } catch (problem) {
    summary.textContent = `${problem.message}.`;
  } finally {
    downloadAll.disabled = false;
  }
}

files.addEventListener("change", () => { add(files.files); files.value = ""; });
document.addEventListener("paste", (event) => add(event.clipboardData.files));
for (const name of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") add(event.dataTransfer.files);
  });
}
downloadAll.addEventListener("click", save);
removeAll.addEventListener("click", () => { for (const photograph of [...photographs.values()]) photograph.discard(); });
