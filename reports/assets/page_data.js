/* The run as the page holds it: facts, and arrays that are decoded when first asked for. Everything shown was derived by the program;
 * here are only look-ups, formats and words that name a place. */
'use strict';

const run = JSON.parse(document.getElementById('run').textContent);

/* Half floats, scaled so that the largest is near the top of the range: three digits over nine decades. */
function fromHalf(h) {
  const e = (h >> 10) & 31, m = h & 1023, sign = h & 32768 ? -1 : 1;
  if (e === 31) return m ? NaN : sign * Infinity;
  return sign * (e ? (1 + m / 1024) * 2 ** (e - 15) : m * 2 ** -24);
}

const halves = { table: null };
function halfTable() {
  if (!halves.table) halves.table = Float32Array.from({ length: 65536 }, (_, i) => fromHalf(i));
  return halves.table;
}

function bytesOf(base64) {
  const text = atob(base64), out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

const decoders = {
  plain: a => a.data.map(x => (x === null ? NaN : x)),
  f16(a) {
    const b = bytesOf(a.data), t = halfTable(), out = new Float32Array(b.length / 2);
    for (let i = 0; i < out.length; i++) out[i] = t[b[2 * i] | (b[2 * i + 1] << 8)] * a.scale;
    return out;
  },
  /* Square-rooted bytes; 255 is "no value". */
  u8(a) {
    return Float32Array.from(bytesOf(a.data), x => (x === 255 ? NaN : (x / 254) ** 2 * a.scale));
  },
  /* The same with a sign, around 127, and a scale for every head. */
  s8(a) {
    const b = bytesOf(a.data), each = b.length / a.scale.length;
    return Float32Array.from(b, (x, i) => (x === 255 ? NaN : Math.sign(x - 127) * ((x - 127) / 127) ** 2 * a.scale[Math.floor(i / each)]));
  },
  /* Equal steps of the logarithm; 0 is 0. */
  l8: a => Float32Array.from(bytesOf(a.data), x => (x === 255 ? NaN : x === 0 ? 0 : a.scale * Math.exp((x - 254) * a.step))),
  whole: a => Float32Array.from(bytesOf(a.data), x => (x === 255 ? NaN : x)),
};

const decoded = new Map();
/* {dims, data} of an array by name, or null when the run has none. */
function array(name) {
  if (!decoded.has(name)) {
    const a = run.arrays[name];
    decoded.set(name, a ? { dims: a.dims, data: decoders[a.type](a) } : null);
  }
  return decoded.get(name);
}

function cell(a, ...at) {
  if (!a) return NaN;
  let i = 0;
  for (let d = 0; d < a.dims.length; d++) {
    const x = at[d] || 0;
    if (x < 0 || x >= a.dims[d]) return NaN;
    i = i * a.dims[d] + x;
  }
  return a.data[i];
}

const layerOf = l => run.layers[l];
const ropeOf = l => run.ropes[run.layers[l].rope];
const keyHead = (l, h) => Math.floor(h * layerOf(l).kv_heads / layerOf(l).heads);

/* --- formats --- */

const thin = '\u202f';
const superscripts = { '-': '⁻', 0: '⁰', 1: '¹', 2: '²', 3: '³', 4: '⁴', 5: '⁵', 6: '⁶', 7: '⁷', 8: '⁸', 9: '⁹' };
const power = e => String(e).split('').map(c => superscripts[c]).join('');
const group = s => s.replace(/,/g, thin);
const count = d => group(d3.format(',.0f')(d));

/* Two to three significant digits: 0.0831, 19.6, 812, 18 400, 4.1×10⁻⁵. */
function num(x) {
  if (x === null || x === undefined || Number.isNaN(x)) return '–';
  const a = Math.abs(x);
  if (a === 0) return '0';
  if (a < 0.000995) {
    const [m, e] = x.toExponential(1).split('e');
    return m + '×10' + power(+e);
  }
  if (a >= 999.5) return group(d3.format(',.0f')(Number(x.toPrecision(3))));
  return d3.format('.3~r')(x).replace('−', '-');
}

/* Words of the program with its commas in numbers as thin spaces. */
const thinWords = s => s.replace(/(\d),(?=\d{3}(?!\d))/g, '$1' + thin);

/* Labels of logarithmic axes: 6, 60, 600, 6k; 0.01, 10⁻³. */
function short(x) {
  if (!(x > 0)) return String(x);
  if (x >= 1e6) return d3.format('.2~r')(x / 1e6) + 'M';
  if (x >= 1e3) return d3.format('.2~r')(x / 1e3) + 'k';
  if (x >= 0.01) return d3.format('.3~r')(x);
  const e = Math.round(Math.log10(x));
  return Math.abs(x / 10 ** e - 1) < 1e-6 ? '10' + power(e) : num(x);
}

const csvField = x => (typeof x === 'string' && /[",\n]/.test(x) ? '"' + x.replace(/"/g, '""') + '"' : String(x));
const exact = x => (typeof x !== 'number' ? (x === null || x === undefined ? '' : x) : Number.isNaN(x) ? '' : Number(x.toPrecision(4)));

function wavelengthWords(l, p) {
  const w = ropeOf(l).wavelength[p];
  return w ? `wavelength ${num(w)} tokens` : 'not rotated';
}

/* --- small DOM helpers --- */

function make(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes || {})) {
    if (v === false || v === null || v === undefined) continue;
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else e.setAttribute(k, v === true ? '' : v);
  }
  e.append(...children);
  return e;
}

const scheme = matchMedia('(prefers-color-scheme: dark)');
const view = { printing: false };
function isDark() {
  if (view.printing) return false;
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === 'dark' : scheme.matches;
}

/* Pictures that must be drawn anew when the theme or the width changes. */
const drawings = new Set();
const redrawAll = () => drawings.forEach(draw => draw());

/* Calls draw(width) now and whenever the element's width changes. */
function onWidth(element, draw) {
  let last = 0;
  const again = () => {
    const w = Math.floor(element.clientWidth);
    if (w > 0) draw((last = w));
  };
  drawings.add(again);
  const watcher = new ResizeObserver(() => {
    if (Math.floor(element.clientWidth) !== last) again();
  });
  watcher.observe(element);
  again();
  return () => {
    watcher.disconnect();
    drawings.delete(again);
  };
}
