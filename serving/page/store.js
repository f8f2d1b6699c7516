// What the page keeps: pictures go to the browser's database on disk, so that 200 do not fill its memory.

const opening = new Promise((done, failed) => {
  const request = indexedDB.open("colorize", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("pictures");
  request.onsuccess = () => done(request.result);
  request.onerror = () => failed(request.error);
});
opening.catch(() => {}); // openStore, which asks later, passes it on

/** Runs one request on the pictures and returns its result. */
async function run(mode, ask) {
  const transaction = (await opening).transaction("pictures", mode);
  const request = ask(transaction.objectStore("pictures"));
  return new Promise((done, failed) => {
    transaction.oncomplete = () => done(request.result);
    transaction.onabort = () => failed(transaction.error);
  });
}

/** The pictures of one page; `session` names it. Keys are arrays: [kind, number of the photograph]. */
export class Store {
  constructor(session) { this.session = session; }
  put(key, value) { return run("readwrite", (pictures) => pictures.put(value, [this.session, ...key])); }
  get(key) { return run("readonly", (pictures) => pictures.get([this.session, ...key])); }
  remove(key) { return run("readwrite", (pictures) => pictures.delete([this.session, ...key])); }
  clear() { return run("readwrite", (pictures) => pictures.delete(range([this.session]))); }

  /** The keys of a kind, in order. */
  async keys(kind) {
    const found = await run("readonly", (pictures) => pictures.getAllKeys(range([this.session, kind])));
    return found.map((key) => key.slice(1));
  }
}

function range(prefix) {
  return IDBKeyRange.bound(prefix, [...prefix, []]); // an array sorts after every number and string
}

/** A store for this page; forgets those of pages that were closed. */
export async function openStore() {
  const session = `${Date.now()}-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
  let open = null;
  if (navigator.locks) { // only on localhost and over HTTPS; held until the page is closed
    await new Promise((held) => navigator.locks.request(session, () => new Promise(held)));
    open = (await navigator.locks.query()).held.map((lock) => lock.name);
  }
  const day = 86_400_000;
  for (const [other] of await run("readonly", (pictures) => pictures.getAllKeys())) {
    const closed = open ? !open.includes(other) : Date.now() - parseInt(other) > day;
    if (closed) await new Store(other).clear();
  }
  const store = new Store(session);
  addEventListener("pagehide", () => store.clear());
  return store;
}
