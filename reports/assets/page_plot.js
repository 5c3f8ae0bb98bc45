/* Curves: one function draws every line, bar and dot plot of the page, with a reading line for pointer and arrow keys, the
 * numbers as a table, and a copy as CSV. */

/* --- numbers behind a picture --- */

function tableOf(columns, rows) {
  const words = rows.length > 0 ? columns.map((_, i) => typeof rows[0][i] === 'string' && !/^\d+$/.test(rows[0][i])) : [];
  const head = make('tr', null, ...columns.map((c, i) => make('th', { scope: 'col', class: words[i] ? 't' : null }, c)));
  const body = rows.map(r => make('tr', null, ...r.map((x, i) => make('td', { class: words[i] ? 't' : null }, typeof x === 'number' || x === null ? num(x) : x))));
  return make('table', null, make('thead', null, head), make('tbody', null, ...body));
}

const csvOf = (columns, rows) => [columns, ...rows.map(r => r.map(exact))].map(r => r.map(csvField).join(',')).join('\n') + '\n';

function copyText(text) {
  const area = make('textarea', { readonly: true, 'aria-hidden': 'true' });
  const fallback = () => {
    const before = document.activeElement;
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    if (before) before.focus();
    return done;
  };
  if (!navigator.clipboard) return Promise.resolve(fallback());
  return navigator.clipboard.writeText(text).then(() => true, fallback);
}

/* Buttons under a figure. numbers() gives {columns, rows} when asked. */
function addTools(figure, numbers) {
  const box = make('div', { class: 'box numbers', hidden: true, tabindex: '0', role: 'region', 'aria-label': 'Numbers of this picture' });
  const show = make('button', {
    type: 'button', class: 'show-numbers', 'aria-expanded': 'false',
    onclick() {
      box.hidden = !box.hidden;
      show.setAttribute('aria-expanded', String(!box.hidden));
      const n = box.hidden ? null : numbers();
      box.replaceChildren(...(n ? [tableOf(n.columns, n.rows)] : []));
    },
  }, 'Numbers');
  const copy = make('button', {
    type: 'button', class: 'copy-csv',
    onclick() {
      const n = numbers();
      copyText(csvOf(n.columns, n.rows)).then(done => {
        copy.textContent = done ? 'Copied' : 'Not allowed here';
        setTimeout(() => { copy.textContent = 'Copy CSV'; }, 1500);
      });
    },
  }, 'Copy CSV');
  const tools = make('div', { class: 'tools' }, show, copy);
  figure.append(tools, box);
  return {
    refresh() {
      if (!box.hidden) { const n = numbers(); box.replaceChildren(tableOf(n.columns, n.rows)); }
    },
  };
}

/* --- legend --- */

/* A series' dash: none, or one of three. */
const dashClass = s => (s.dashed ? ' dashed' + (s.dashed > 1 ? ' dashed-' + s.dashed : '') : '');

function swatch(s) {
  const svg = d3.create('svg').attr('width', 20).attr('height', 10).attr('aria-hidden', 'true').style('--c', s.colour || 'var(--soft)');
  if (s.kind === 'bar') svg.append('rect').attr('class', 'bar').attr('x', 4).attr('width', 12).attr('height', 10);
  else if (s.kind === 'dots') svg.append('circle').attr('class', s.open ? 'ring' : 'dot').attr('cx', 10).attr('cy', 5).attr('r', 3);
  else svg.append('line').attr('class', s.rule ? 'rule ' + s.rule : 'series' + dashClass(s)).attr('x2', 20).attr('y1', 5).attr('y2', 5);
  return svg.node();
}

const legendOf = series => make('div', { class: 'legend' }, ...series.map(s => make('span', null, swatch(s), s.name)));

/* --- scales --- */

function scaleOf(axis, range) {
  if (axis.type === 'log') return d3.scaleLog().domain(axis.domain).range(range).clamp(true);
  if (axis.type === 'distance') return d3.scaleSymlog().constant(axis.constant || 1).domain(axis.domain).range(range);
  return d3.scaleLinear().domain(axis.domain).range(range).clamp(Boolean(axis.clamp));
}

function decades([lo, hi], most) {
  const from = Math.ceil(Math.log10(lo) - 1e-9), to = Math.floor(Math.log10(hi) + 1e-9), out = [];
  const step = Math.max(1, Math.ceil((to - from + 1) / most));
  for (let e = from; e <= to; e += step) out.push(10 ** e);
  return out;
}

function ticksOf(axis, scale, room) {
  const most = Math.max(2, Math.floor(room));
  if (axis.ticks) return axis.ticks.length <= most ? axis.ticks : axis.ticks.filter((_, i) => i % Math.ceil(axis.ticks.length / most) === 0);
  if (axis.type === 'log') return decades(axis.domain, most);
  return scale.ticks(most).filter(t => !axis.whole || Number.isInteger(t));
}

/* Domain of a log axis: whole decades around what is there, at most seven. */
function logDomain(values, most = 7) {
  const v = values.filter(x => x > 0 && Number.isFinite(x) && x > 1e-12);
  if (v.length === 0) return [1e-3, 1];
  const hi = Math.ceil(Math.log10(d3.max(v)) - 1e-9), lo = Math.floor(Math.log10(d3.min(v)) + 1e-9);
  return [10 ** Math.max(lo, hi - most), 10 ** Math.max(hi, lo + 1)];
}

/* Distances are shown from 0 on a scale that is linear near 0 and logarithmic beyond. */
const distanceTicks = most => [0, 1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144].filter(d => d <= most);

/* --- the wavelength axis of a rotary table --- */

/* Position (in pairs, fractional) at which the wavelength is w; NaN outside. Wavelengths rise with the pair. */
function pairAt(rope, w) {
  const n = rope.rotated, v = rope.wavelength;
  for (let p = 0; p + 1 < n; p++) {
    if (w >= v[p] && w <= v[p + 1]) return v[p + 1] > v[p] ? p + Math.log(w / v[p]) / Math.log(v[p + 1] / v[p]) : p;
  }
  return NaN;
}

function wavelengthTicks(rope) {
  const out = [];
  for (let e = 1; e <= 9; e++) {
    const at = pairAt(rope, 10 ** e);
    if (!Number.isNaN(at)) out.push({ at, text: short(10 ** e) });
  }
  return out;
}

const pairTicks = n => { const s = [1, 2, 4, 8, 16, 32].find(x => n / x <= 17) || 32; return d3.range(0, n, s); };
const topAxis = rope => (rope.rotated > 1 ? { ticks: wavelengthTicks(rope), label: 'wavelength in tokens', end: rope.rotated < rope.pairs ? rope.rotated - 0.5 : null } : null);

/* --- the plot --- */

function drawAxes(g, o, x, y, w, h) {
  const yTicks = ticksOf(o.y, y, h / 30), format = o.y.format || (o.y.type === 'log' ? short : num);
  g.append('g').attr('class', 'grid').selectAll('line').data(yTicks).join('line').attr('x2', w).attr('y1', y).attr('y2', y);
  g.append('g').attr('class', 'axis').call(d3.axisLeft(y).tickValues(yTicks).tickFormat(format).tickSize(0).tickPadding(5)).call(a => a.select('path').remove());
  g.append('g').attr('class', 'axis').attr('transform', `translate(0,${h})`)
    .call(d3.axisBottom(x).tickValues(ticksOf(o.x, x, w / 44)).tickFormat(o.x.format || short).tickSize(4));
  g.append('text').attr('class', 'title').attr('x', w / 2).attr('y', h + 32).attr('text-anchor', 'middle').text(o.x.label);
  g.append('text').attr('class', 'title').attr('x', -o.margin.left + 2).attr('y', -9 - (o.top ? 22 : 0)).text(o.y.label);
}

/* Second axis above the plot: wavelengths of the pairs. */
function drawTopAxis(g, o, x, w, h) {
  if (!o.top) return;
  if (o.top.end !== null && o.top.end !== undefined) {
    g.append('line').attr('class', 'rule dotted').attr('x1', x(o.top.end)).attr('x2', x(o.top.end)).attr('y2', h);
    g.append('text').attr('x', (x(o.top.end) + w) / 2).attr('y', -7).attr('text-anchor', 'middle').text('not rotated');
  }
  const t = g.append('g').attr('class', 'axis');
  let last = -Infinity;
  for (const k of o.top.ticks) {
    const at = x(k.at);
    t.append('line').attr('x1', at).attr('x2', at).attr('y1', 0).attr('y2', -4);
    if (at - last < 30) continue;
    t.append('text').attr('x', at).attr('y', -7).attr('text-anchor', 'middle').text(k.text);
    last = at;
  }
  t.append('text').attr('class', 'title').attr('x', w).attr('y', -22).attr('text-anchor', 'end').text(o.top.label);
}

/* Intervals as upright bars, `shift` pixels beside their places. */
function whiskers(g, points, x, y, shift) {
  g.selectAll('.err').data(points.filter(d => Number.isFinite(d.lo))).join('line').attr('class', 'err').attr('x1', d => x(d.x) + shift).attr('x2', d => x(d.x) + shift).attr('y1', d => y(d.lo)).attr('y2', d => y(d.hi));
}

const drawSeries = {
  line(g, s, x, y) {
    const ok = d => Number.isFinite(d.y) && (!s.log || d.y > 0);
    if (s.shift !== undefined) whiskers(g, s.points, x, y, s.shift);
    else if (s.points.some(d => Number.isFinite(d.lo))) {
      g.append('path').attr('class', 'band').datum(s.points)
        .attr('d', d3.area().defined(d => ok(d) && (!s.log || d.hi > 0)).x(d => x(d.x)).y0(d => y(s.log ? Math.max(d.lo, y.domain()[0]) : d.lo)).y1(d => y(d.hi)));
    }
    g.append('path').attr('class', 'series' + dashClass(s) + (s.thin ? ' thin' : '')).datum(s.points).attr('d', d3.line().defined(ok).x(d => x(d.x)).y(d => y(d.y)));
    /* A point that stands alone draws no line. */
    const alone = s.points.filter((d, i) => ok(d) && !(i > 0 && ok(s.points[i - 1])) && !(i + 1 < s.points.length && ok(s.points[i + 1])));
    g.selectAll('.alone').data(alone).join('circle').attr('class', 'dot').attr('r', 2).attr('cx', d => x(d.x)).attr('cy', d => y(d.y));
  },
  dots(g, s, x, y) {
    const p = s.points.filter(d => Number.isFinite(d.y) && (!s.log || d.y > 0));
    whiskers(g, p, x, y, 0);
    g.selectAll('circle').data(p).join('circle').attr('class', s.open ? 'ring' : 'dot').attr('r', s.r || 2.4).attr('cx', d => x(d.x)).attr('cy', d => y(d.y));
  },
  bar(g, s, x, y) {
    const step = Math.abs(x(1) - x(0)), w = Math.max(0.5, step * 0.8 / s.of), y0 = y(0);
    g.selectAll('rect').data(s.points.filter(d => d.y > 0)).join('rect').attr('class', 'bar').attr('x', d => x(d.x) - step * 0.4 + w * s.index)
      .attr('width', w).attr('y', d => y((d.from || 0) + d.y)).attr('height', d => (d.from ? y(d.from) : y0) - y((d.from || 0) + d.y));
  },
};

/* Reading line at one of the places at[i] (pixels in g): the nearest to the pointer, or moved by arrows; what stands there is said.
 * r: {at, length, before: pixels from svg to g, down?: places follow one another downwards, say(i), hint} */
function addReading(svg, g, r, readout) {
  const [across, along, back, on] = r.down ? ['y', 'x', 'ArrowUp', 'ArrowDown'] : ['x', 'y', 'ArrowLeft', 'ArrowRight'];
  const mark = g.append('line').attr('class', 'cursor').attr(along + '2', r.length).style('display', 'none');
  let at = -1;
  const set = i => {
    at = Math.max(0, Math.min(r.at.length - 1, i));
    mark.style('display', null).attr(across + '1', r.at[at]).attr(across + '2', r.at[at]);
    readout.textContent = r.say(at);
  };
  const clear = () => {
    at = -1;
    mark.style('display', 'none');
    readout.textContent = r.hint || '';
  };
  svg.attr('tabindex', 0).on('pointermove', function () {
    const pointer = d3.clientPoint(this, d3.event)[r.down ? 1 : 0] - r.before;
    set(d3.scan(r.at, (a, b) => Math.abs(a - pointer) - Math.abs(b - pointer)));
  }).on('pointerleave', clear).on('blur', clear).on('keydown', () => {
    const to = { [on]: at + 1, [back]: at - 1, Home: 0, End: r.at.length - 1 }[d3.event.key];
    if (to === undefined || d3.event.altKey || d3.event.ctrlKey || d3.event.metaKey) return;
    d3.event.preventDefault();
    set(to);
  });
  clear();
}

/* o: {x, y: {type, domain, label, ticks?, format?}, series: [{name, kind, colour, points: [{x, y, lo?, hi?}], shift?: intervals of a line as bars beside its points, not as an area}], rules?: [{y, name, rule}],
 *     top?: {ticks, label}, shaded?: [[x0, x1]], reading: {xs, say(i), hint}, numbers?(): {columns, rows}, height?, label} */
function plot(figure, o) {
  const before = figure.querySelector('figcaption');
  const box = make('div', { class: 'plot' }), readout = make('output', { class: 'readout', 'aria-live': 'polite' });
  const legend = legendOf([...o.series.filter(s => s.name), ...(o.rules || []).filter(r => r.name)]);
  figure.insertBefore(legend, before);
  figure.insertBefore(make('div', null, box, readout), before);
  o.margin = { top: o.top ? 44 : 22, right: 12, bottom: 40, left: o.left || 46 };
  const stop = onWidth(box, width => {
    const height = o.height || 250, w = width - o.margin.left - o.margin.right, h = height - o.margin.top - o.margin.bottom;
    const x = scaleOf(o.x, [0, w]), y = scaleOf(o.y, [h, 0]);
    const svg = d3.create('svg').attr('width', width).attr('height', height).attr('role', 'img').attr('aria-label', o.label || '');
    const g = svg.append('g').attr('transform', `translate(${o.margin.left},${o.margin.top})`);
    drawAxes(g, o, x, y, w, h);
    drawTopAxis(g, o, x, w, h);
    for (const [a, b] of o.shaded || []) g.append('rect').attr('class', 'shaded').attr('x', x(a)).attr('width', x(b) - x(a)).attr('height', h);
    for (const r of o.rules || []) g.append('line').attr('class', 'rule ' + (r.rule || '')).attr('x2', w).attr('y1', y(r.y)).attr('y2', y(r.y));
    for (const s of o.series) drawSeries[s.kind || 'line'](g.append('g').style('--c', s.colour), { ...s, log: o.y.type === 'log' }, x, y);
    if (o.reading) addReading(svg, g, { ...o.reading, at: o.reading.xs.map(x), length: h, before: o.margin.left }, readout);
    box.replaceChildren(svg.node());
  });
  const tools = o.numbers ? addTools(figure, o.numbers) : null;
  return { stop, tools };
}
