// Strength in the browser, as the server computes it: chroma times a factor at equal lightness, into sRGB's gamut.

const MOST = 1 << 24; // pixels of a canvas; phones refuse larger ones
const PIECE = 1 << 17; // pixels that are computed before the page gets its turn
const EDGE = 1e-4;
const LINEAR = Float64Array.from({ length: 256 }, (_, level) => {
  const value = level / 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
});
const LEVELS = Uint8Array.from({ length: 4097 }, (_, step) => {
  const value = (step / 4096) ** 2; // finer where it is dark
  return Math.round(255 * (value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055));
});
const rgb = new Float64Array(3); // linear

/** Draws an image on a canvas of this width, its chroma times `strength`, piece by piece; a later call ends it. */
export async function paint(canvas, image, width, strength) {
  const share = Math.min(1, width / image.naturalWidth, Math.sqrt(MOST / (image.naturalWidth * image.naturalHeight)));
  const [w, h] = [image.naturalWidth, image.naturalHeight].map((side) => Math.max(1, Math.round(side * share)));
  const call = canvas.call = {};
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const source = new OffscreenCanvas(w, Math.max(1, Math.min(h, Math.floor(PIECE / w))));
  const context = source.getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < h; top += source.height) {
    const rows = Math.min(source.height, h - top);
    context.drawImage(image, 0, -top, w, h);
    const pixels = context.getImageData(0, 0, w, rows);
    scale(pixels.data, strength);
    canvas.getContext("2d").putImageData(pixels, 0, top);
    await new Promise((wake) => setTimeout(wake));
    if (canvas.call !== call) return;
  }
}

/** Scales the chroma of RGBA pixels in place. */
export function scale(pixels, strength) {
  for (let at = 0; at < pixels.length; at += 4) {
    const r = LINEAR[pixels[at]], g = LINEAR[pixels[at + 1]], b = LINEAR[pixels[at + 2]];
    const y = curve(0.212671 * r + 0.71516 * g + 0.072169 * b); // (L + 16) / 116 of CIELAB
    const a = curve((0.412453 * r + 0.35758 * g + 0.180423 * b) / 0.95047) - y; // a / 500
    const c = curve((0.019334 * r + 0.119193 * g + 0.950227 * b) / 1.08883) - y; // -b / 200
    if (!mix(y, strength * a, strength * c)) {
      let low = 0, high = strength; // the largest chroma in gamut lies between
      for (let step = 0; step < 10; step++) {
        const middle = (low + high) / 2;
        if (mix(y, middle * a, middle * c)) low = middle; else high = middle;
      }
      mix(y, low * a, low * c);
    }
    for (let channel = 0; channel < 3; channel++) {
      pixels[at + channel] = LEVELS[Math.round(4096 * Math.sqrt(Math.min(1, Math.max(0, rgb[channel]))))];
    }
  }
}

/** Computes `rgb`; returns whether it is in gamut. */
function mix(y, a, c) {
  const X = 0.95047 * cube(y + a), Y = cube(y), Z = 1.08883 * cube(y + c);
  rgb[0] = 3.240481 * X - 1.537152 * Y - 0.498536 * Z;
  rgb[1] = -0.969255 * X + 1.87599 * Y + 0.041556 * Z;
  rgb[2] = 0.055647 * X - 0.204041 * Y + 1.057311 * Z;
  return Math.min(rgb[0], rgb[1], rgb[2]) > -EDGE && Math.max(rgb[0], rgb[1], rgb[2]) < 1 + EDGE;
}

function curve(t) { return t > 216 / 24389 ? Math.cbrt(t) : (841 / 108) * t + 4 / 29; }
function cube(f) { return f > 6 / 29 ? f * f * f : (108 / 841) * (f - 4 / 29); }
