// Requests to the server.

const AT_ONCE = 3; // photographs that are sent at the same time; the others wait here
const MOST_FAILURES = 5;
const POLL = 400; // milliseconds
const waiting = [];
let sent = 0;

/** Colors a photograph; returns {blob, pages}. `report` receives {place}, or {tile, tiles}. Throws a sentence. */
export async function color(file, { strength, hints }, signal, report) {
  await turn(signal, report);
  try {
    const watch = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("");
    const query = new URLSearchParams({ strength, hints: JSON.stringify(hints), watch });
    const ended = new AbortController();
    follow(watch, ended.signal, report);
    try {
      return await post(`v1/colorize?${query}`, file, signal, report);
    } finally {
      ended.abort();
    }
  } finally {
    sent -= 1;
    next();
  }
}

/** A picture that browsers can show of one that this browser cannot. */
export async function preview(file, signal) {
  return (await post("v1/preview", file, signal, () => {})).blob;
}

/** Waits until fewer than AT_ONCE photographs are under way. */
function turn(signal, report) {
  return new Promise((go, stop) => {
    const one = { go, report };
    waiting.push(one);
    signal.addEventListener("abort", () => {
      const place = waiting.indexOf(one);
      if (place >= 0) waiting.splice(place, 1);
      stop(signal.reason);
      next();
    });
    next();
  });
}

function next() {
  for (; sent < AT_ONCE && waiting.length; sent++) waiting.shift().go();
  waiting.forEach((one, before) => one.report({ place: before + 1 + sent }));
}

/** Sends a file until the server takes it: a busy one says when to ask again; one that fails is asked a few times. */
async function post(path, file, signal, report) {
  for (let failures = 0; ; ) {
    let answer;
    try {
      answer = await fetch(path, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" }, signal });
      if (answer.ok) return { blob: await answer.blob(), pages: Number(answer.headers.get("Pages") || 1) };
    } catch (error) {
      if (signal.aborted) throw error;
      throw new Error("The server does not answer, or the file cannot be read");
    }
    const { detail } = await answer.json().catch(() => ({ detail: answer.statusText }));
    if (answer.status === 503) failures += 1;
    if (![429, 503].includes(answer.status) || failures > MOST_FAILURES) throw new Error(`Not colored: ${detail}`);
    report({ busy: true });
    await new Promise((wake) => setTimeout(wake, 1000 * Number(answer.headers.get("Retry-After") || 2)));
  }
}

/** Reports where the server is with a photograph, until the signal. */
async function follow(watch, signal, report) {
  while (!signal.aborted) {
    await new Promise((wake) => setTimeout(wake, POLL));
    const answer = await fetch(`v1/progress/${watch}`, { signal }).catch(() => null);
    if (answer?.ok && !signal.aborted) report(await answer.json());
  }
}
