// Hints of one photograph: points and strokes of a color, by click or by keyboard.

const COLORS = {
  "Sky blue": "#7fb2e5", Navy: "#2a4b8d", Teal: "#2f7f86", "Leaf green": "#5a8f3c", Olive: "#7d7a3a", "Grass green": "#7aa23f",
  Skin: "#d9a384", "Dark skin": "#8d5a3c", Brown: "#7a4f2b", "Dark red": "#a02c2c", Rose: "#d98a9a", Orange: "#d9822b",
  Straw: "#d9c27a", Violet: "#7d5aa0", Gray: "#808080",
};
const STEP = 0.02; // share of a side between two points of a stroke
const MOST = 40; // points of a stroke
let palettes = 0;

/** Lets the user give hints on a photograph's article; calls `changed` after each change. */
export class Hints {
  constructor(article, changed) {
    const find = (selector) => article.querySelector(selector);
    [this.box, this.marks, this.cross] = [".hints", ".marks", ".cross"].map(find);
    [this.across, this.down, this.undo] = [".across", ".down", ".undo"].map(find);
    this.list = [];
    this.changed = changed;
    this.fill(find(".palette"));
    find(".point").addEventListener("click", () => this.add([[this.across.value / 100, this.down.value / 100]]));
    this.undo.addEventListener("click", () => { this.list.pop(); this.finish(); });
    for (const slider of [this.across, this.down]) slider.addEventListener("input", () => this.place());
    this.marks.addEventListener("pointerdown", (event) => this.draw(event));
  }

  get shown() { return !this.box.hidden; }

  toggle(shown) {
    this.box.hidden = this.cross.hidden = !shown;
    this.marks.toggleAttribute("hidden", !shown);
    this.place();
  }

  /** Fills the palette with radio buttons and a color of the user's own. */
  fill(palette) {
    const group = `palette-${palettes++}`;
    for (const [name, value] of Object.entries(COLORS)) {
      const input = Object.assign(document.createElement("input"), { type: "radio", name: group, value, title: name, ariaLabel: name });
      input.style.setProperty("--color", value);
      input.addEventListener("change", () => this.choose(value, name));
      palette.append(input);
    }
    palette.firstChild.checked = true;
    this.choose(...Object.entries(COLORS)[0].reverse());
    const own = Object.assign(document.createElement("input"), { type: "color", value: "#c05040", title: "Another color", ariaLabel: "Another color" });
    own.addEventListener("input", () => {
      this.choose(own.value, "of this color");
      for (const other of palette.querySelectorAll("[type=radio]")) other.checked = false;
    });
    palette.append(own);
  }

  choose(color, name) {
    this.color = color;
    this.box.querySelector(".chosen").textContent = name.toLowerCase();
  }

  /** Follows the pointer until it is released. */
  draw(event) {
    event.preventDefault();
    this.marks.setPointerCapture(event.pointerId);
    const frame = this.marks.getBoundingClientRect();
    const at = ({ clientX, clientY }) => [
      share((clientX - frame.left) / frame.width), share((clientY - frame.top) / frame.height),
    ];
    const points = [at(event)];
    const draw = this.mark({ color: this.color, points });
    this.marks.onpointermove = (moved) => {
      const [x, y] = at(moved), [lastX, lastY] = points.at(-1);
      if (Math.hypot(x - lastX, y - lastY) >= STEP && points.length < MOST) points.push([x, y]);
      draw();
    };
    this.marks.onpointerup = this.marks.onpointercancel = () => {
      this.marks.onpointermove = this.marks.onpointerup = this.marks.onpointercancel = null;
      this.add(points);
    };
  }

  add(points) {
    this.list.push({ color: this.color, points });
    this.finish();
  }

  finish() {
    this.marks.replaceChildren();
    for (const hint of this.list) this.mark(hint);
    this.undo.disabled = this.list.length === 0;
    this.changed(this.list);
  }

  /** Marks a hint on the picture; returns what draws it again after its points have changed. */
  mark({ color, points }) {
    const lines = ["white", color].map((stroke) => {
      const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
      line.setAttribute("stroke", stroke);
      this.marks.append(line);
      return line;
    });
    const draw = () => lines.forEach((line) => line.setAttribute("points", path(points)));
    draw();
    return draw;
  }

  place() {
    this.cross.style.left = `${this.across.value}%`;
    this.cross.style.top = `${this.down.value}%`;
  }
}

const share = (value) => Math.round(1000 * Math.min(1, Math.max(0, value))) / 1000;
const path = (points) => [...points, points.at(-1)].join(" "); // a point is a line of no length with round ends
