// One photograph: its article, from the original that waits to the colored picture that can be compared and saved.
import { color, preview } from "./api.js";
import { Hints } from "./hints.js";
import { paint } from "./strength.js";

const SUFFIXES = {
  "image/jpeg": [".jpg", ".jpeg", ".jpe", ".jfif"], "image/png": [".png"], "image/webp": [".webp"], "image/bmp": [".bmp"],
  "image/tiff": [".tif", ".tiff"],
};
const PREPARING = "Preparing the file…";
const template = document.getElementById("photograph");
let made = 0;

export class Photograph {
  /** `changed` is called after each change of `state`: waiting, colored, failed or removed. */
  constructor(file, store, changed) {
    Object.assign(this, { file, store, changed, number: made++, state: "waiting", strength: 1, saved: 1, urls: {} });
    this.article = template.content.firstElementChild.cloneNode(true);
    const find = (selector) => this.article.querySelector(selector);
    for (const name of ["status", "view", "stack", "line", "split", "download", "hint", "zoom", "again", "remove"]) {
      this[name] = find(`.${name}`);
    }
    [this.before, this.after, this.canvas, this.bar] = [".before", "img.after", "canvas", "progress"].map(find);
    this.slider = find(".strength");
    this.hints = new Hints(this.article, () => this.color());
    this.describe(find("h2"));
    this.listen();
  }

  /** Gives everything its name; a file's name is shown as text, never as HTML. */
  describe(title) {
    const name = this.file.name;
    title.textContent = name;
    this.before.alt = `${name}, the original`;
    this.after.alt = `${name}, colored`;
    this.bar.setAttribute("aria-label", `Progress of ${name}`);
    this.split.setAttribute("aria-label", `Line between the original and the colors of ${name}`);
    this.move();
  }

  listen() {
    const input = this.slider.querySelector("input");
    this.split.addEventListener("input", () => this.move());
    input.addEventListener("input", () => {
      this.strength = Number(input.value);
      this.slider.querySelector(".value").textContent = input.value;
      this.paint();
    });
    this.download.addEventListener("click", (event) => this.save(event));
    this.again.addEventListener("click", () => this.color());
    this.remove.addEventListener("click", () => this.discard());
    for (const [button, act] of [[this.hint, (on) => this.hints.toggle(on)], [this.zoom, (on) => this.enlarge(on)]]) {
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") === "false";
        button.setAttribute("aria-pressed", on);
        act(on);
        this.arrange();
      });
    }
  }

  /** Colors the photograph with its hints. A second call ends the first. */
  async color() {
    this.running?.abort();
    const { signal } = (this.running = new AbortController());
    this.become("waiting", "Waiting…");
    try {
      const { blob, pages } = await color(this.file, { strength: 1, hints: this.hints.list }, signal, (news) => this.report(news));
      if (signal.aborted) return;
      await this.store.remove(["final", this.number]);
      await this.store.put(["colored", this.number], { name: this.named(blob.type), blob });
      this.saved = 1;
      this.become("colored", pages > 1 ? `Page 1 of ${pages}. The command colorize photo colors all pages.` : "");
      if (this.shown) await this.display("after");
      this.arrange();
    } catch (problem) {
      if (!signal.aborted) this.become("failed", `${problem.message}.`);
    }
  }

  become(state, text) {
    this.state = state;
    this.status.textContent = text;
    this.article.className = state;
    this.article.setAttribute("aria-busy", state === "waiting");
    this.bar.hidden = state !== "waiting";
    this.bar.removeAttribute("value");
    this.again.hidden = state !== "failed";
    this.changed(this);
  }

  report({ place, tile, tiles, busy }) {
    if (this.state !== "waiting") return;
    if (busy) this.status.textContent = "Waiting: the server is busy…";
    else if (tiles) this.status.textContent = `Coloring: tile ${Math.min(tile + 1, tiles)} of ${tiles}`;
    else this.status.textContent = `Waiting: place ${place} in the queue`;
    if (tiles) this.bar.value = tile / tiles;
  }

  /** The picture's name: the photograph's, with another suffix if the server answers in another format. */
  named(type) {
    const known = SUFFIXES[type] ?? [""];
    const name = this.file.name;
    return known.some((suffix) => name.toLowerCase().endsWith(suffix)) ? name : name.replace(/\.[^.]*$/, "") + known[0];
  }

  /** Loads the pictures when the article comes near the window. */
  async show() {
    this.shown = true;
    await this.display("before");
    if (this.shown && (await this.store.get(["colored", this.number]))) await this.display("after");
    this.arrange();
  }

  /** Frees the pictures when the article is far from the window. */
  hide() {
    this.shown = false;
    for (const which of ["before", "after"]) this.release(which);
    this.canvas.width = this.canvas.height = 0;
  }

  release(which) {
    URL.revokeObjectURL(this.urls[which]);
    delete this.urls[which];
    this[which].removeAttribute("src");
  }

  /** Shows a picture; asks the server for another format if the browser cannot show it. */
  async display(which) {
    const blob = which === "before" ? this.file : (await this.store.get(["colored", this.number]))?.blob;
    if (!blob || !this.shown) return;
    try {
      await this.load(which, blob);
    } catch {
      const key = ["preview", this.number, which];
      try {
        const seen = (which === "before" && (await this.store.get(key))) || (await preview(blob, new AbortController().signal));
        await this.store.put(key, seen);
        if (this.shown) await this.load(which, seen);
      } catch {
        this.release(which); // neither can show it; a failure says why
      }
    }
  }

  async load(which, blob) {
    this.release(which);
    this.urls[which] = this[which].src = URL.createObjectURL(blob);
    await this[which].decode();
  }

  /** Shows what there is to see and to do. */
  arrange() {
    const { naturalWidth: width, naturalHeight: height } = this.before.src ? this.before : this.after;
    if (width) this.stack.style.cssText += `--width: ${width}; --height: ${height}`;
    this.view.hidden = !this.stack.style.getPropertyValue("--width");
    const colored = this.article.classList.contains("colored") || this.after.hasAttribute("src");
    const visible = this.after.hasAttribute("src");
    for (const element of [this.download, this.slider, this.hint, this.zoom]) element.hidden = !colored;
    this.split.hidden = this.line.hidden = !visible || this.hints.shown;
    if (this.hints.shown) this.stack.style.setProperty("--split", "0%");
    else this.move();
    if (colored && !visible && this.shown) this.status.textContent = "Colored. It cannot be shown here; it can be downloaded.";
    this.paint();
  }

  /** Moves the line between before and after. */
  move() {
    this.stack.style.setProperty("--split", `${this.split.value}%`);
    this.split.setAttribute("aria-valuetext", `${this.split.value} % original`);
  }

  enlarge(on) {
    this.view.classList.toggle("pixels", on);
    this.view.toggleAttribute("tabindex", on);
    if (on) Object.assign(this.view, { tabIndex: 0, role: "region", ariaLabel: `Pixels of ${this.file.name}` });
    this.stack.style.setProperty("--ratio", devicePixelRatio);
  }

  /** Shows the colors at the chosen strength: the picture itself at 1, else a canvas. */
  paint() {
    const plain = this.strength === 1 || !this.after.hasAttribute("src");
    this.after.hidden = !plain || !this.after.hasAttribute("src");
    this.canvas.hidden = plain;
    if (!plain) paint(this.canvas, this.after, this.stack.clientWidth * devicePixelRatio, this.strength);
  }

  /** Has the server make the picture at the chosen strength, unless it is there. Returns it with its name. */
  async finish() {
    const kind = this.strength === 1 ? "colored" : "final";
    if (this.strength !== 1 && this.saved !== this.strength) {
      const { strength } = this;
      const wish = { strength, hints: this.hints.list };
      const { blob } = await color(this.file, wish, this.running.signal, (news) => this.report(news));
      await this.store.put(["final", this.number], { name: this.named(blob.type), blob });
      this.saved = strength;
    } else if (this.strength === 1) {
      await this.store.remove(["final", this.number]);
      this.saved = 1;
    }
    return this.store.get([kind, this.number]);
  }

  /** Follows the link if it has the picture, else fetches the picture first. */
  async save(event) {
    if (this.ready) return;
    event.preventDefault();
    const { signal } = this.running;
    const said = this.status.textContent;
    if (said === PREPARING) return;
    try {
      this.status.textContent = PREPARING;
      const { name, blob } = await this.finish();
      const suffix = name.match(/\.[^.]*$/)?.[0] ?? "";
      this.download.download = `${name.slice(0, name.length - suffix.length)}-colorized${suffix}`;
      const href = (this.download.href = URL.createObjectURL(blob));
      this.ready = true;
      this.download.click();
      setTimeout(() => URL.revokeObjectURL(href), 60_000);
    } catch (problem) {
      if (!signal.aborted) this.status.textContent = `${problem.message}.`;
    } finally {
      if (this.status.textContent === PREPARING) this.status.textContent = said;
      this.ready = false;
    }
  }

  async discard() {
    this.running?.abort();
    this.hide();
    this.state = "removed";
    this.changed(this);
    for (const key of [["colored"], ["final"], ["preview", "before"], ["preview", "after"]]) {
      await this.store.remove([key[0], this.number, ...key.slice(1)]);
    }
  }
}
