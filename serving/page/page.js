// Photographs in, colored ones out: each gets an <article> with a slider, its colorings, and a download.
"use strict";

const SUFFIXES = { "image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/tiff": ".tif", "image/bmp": ".bmp" };
const list = document.getElementById("photographs");
const drop = document.getElementById("drop");
const files = document.getElementById("files");
const template = document.getElementById("photograph");

/** One photograph's article. `file.name` is shown as text, never as HTML. */
function show(file) {
  const article = template.content.firstElementChild.cloneNode(true);
  const [title, status, slider, choices, another, download] = ["h2", ".status", "img-comparison-slider", "fieldset", ".another", ".download"]
    .map((selector) => article.querySelector(selector));
  const [before, after] = slider.querySelectorAll("img");
  const group = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
  let seed = 0;

  function choose(colored) {
    after.src = colored.url;
    download.href = colored.url;
    download.download = file.name.replace(/\.[^.]*$/, "") + "-colorized" + SUFFIXES[colored.type];
  }

  function offer(colored) {
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: group, checked: true });
    const thumbnail = Object.assign(document.createElement("img"), { src: colored.url, alt: `Coloring ${seed}` });
    const label = document.createElement("label");
    label.append(radio, thumbnail);
    radio.addEventListener("change", () => choose(colored));
    choices.append(label);
    choices.hidden = choices.querySelectorAll("input").length < 2;
    choose(colored);
  }

  async function color() {
    article.setAttribute("aria-busy", "true");
    another.disabled = true;
    status.textContent = "Coloring…";
    try {
      const colored = await ask(file, seed, (text) => { status.textContent = text; });
      seed += 1;
      offer(colored);
      status.textContent = "";
      article.classList.remove("refused");
      for (const part of [slider, another, download]) part.hidden = false;
      await after.decode().catch(() => {
        slider.hidden = choices.hidden = true;
        status.textContent = "Colored. This browser cannot show such a file; it can be downloaded.";
      });
    } catch (problem) {
      status.textContent = problem.message;
      article.classList.add("refused");
    } finally {
      article.setAttribute("aria-busy", "false");
      another.disabled = false;
    }
  }

  title.textContent = file.name;
  before.src = URL.createObjectURL(file);
  another.addEventListener("click", color);
  list.prepend(article);
  color();
}

/** A coloring as {url, type}. Waits and asks again while the server is busy; throws what it refuses, as a sentence. */
async function ask(file, seed, say) {
  for (;;) {
    let answer;
    try {
      answer = await fetch(`v1/colorize?seed=${seed}`, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
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
