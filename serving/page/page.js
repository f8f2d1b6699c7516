// Photographs in, colored ones out: each gets an <article> with a slider and a download.
"use strict";

const SUFFIXES = { "image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/tiff": ".tif", "image/bmp": ".bmp" };
const list = document.getElementById("photographs");
const drop = document.getElementById("drop");
const files = document.getElementById("files");
const template = document.getElementById("photograph");

/** One photograph's article. `file.name` is shown as text, never as HTML. */
function show(file) {
  const article = template.content.firstElementChild.cloneNode(true);
  const [title, status, slider, download] = ["h2", ".status", "img-comparison-slider", ".download"]
    .map((selector) => article.querySelector(selector));
  const [before, after] = slider.querySelectorAll("img");

  async function color() {
    article.setAttribute("aria-busy", "true");
    status.textContent = "Coloring…";
    try {
      const colored = await ask(file, (text) => { status.textContent = text; });
      after.src = download.href = colored.url;
      download.download = file.name.replace(/\.[^.]*$/, "") + "-colorized" + SUFFIXES[colored.type];
      status.textContent = "";
      slider.hidden = download.hidden = false;
      await after.decode().catch(() => {
        slider.hidden = true;
        status.textContent = "Colored. This browser cannot show such a file; it can be downloaded.";
      });
    } catch (problem) {
      status.textContent = problem.message;
      article.classList.add("refused");
    } finally {
      article.setAttribute("aria-busy", "false");
    }
  }

  title.textContent = file.name;
  before.src = URL.createObjectURL(file);
  list.prepend(article);
  color();
}

/** A coloring as {url, type}. Waits and asks again while the server is busy; throws what it refuses, as a sentence. */
async function ask(file, say) {
  for (;;) {
    let answer;
    try {
      answer = await fetch("v1/colorize", { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
    } catch {
      throw new Error("The server does not answer, or the file cannot be read. Try again.");
    }
    if (answer.ok) {
      const blob = await answer.blob();
      return { url: URL.createObjectURL(blob), type: blob.type };
    }
    const { detail } = await answer.json().catch(() => ({ detail: answer.statusText }));
    if (answer.status !== 429) throw new Error(`Not colored: ${detail}.`);
    say("Waiting: the server is busy…");
    await new Promise((wake) => setTimeout(wake, 1000 * Number(answer.headers.get("Retry-After") || 2)));
  }
}

function all(given) {
  for (const file of given) show(file);
}

files.addEventListener("change", () => { all(files.files); files.value = ""; });
document.addEventListener("paste", (event) => all(event.clipboardData.files));
for (const name of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") all(event.dataTransfer.files);
  });
}
