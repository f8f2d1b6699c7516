// Service worker: answers colorized.zip?SESSION from the browser's database, so that the ZIP goes straight to disk.
import { Store } from "./store.js";
import { zipped } from "./zip.js";

addEventListener("install", () => skipWaiting());
addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (url.pathname.endsWith("/page/colorized.zip")) event.respondWith(zipped(new Store(url.search.slice(1))));
});
