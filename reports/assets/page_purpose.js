/* What the pairs are for: verdicts by frequency, by layer and in a head; and what it cost when that was tried. */

/* Told first what works, then what does not, then what is not known. */
const verdictOrder = ['positional', 'semantic', 'bias', 'idle', 'undecided'].map(name => ({ name, i: run.verdicts.findIndex(v => v.name === name) })).filter(v => v.i >= 0 && run.verdicts[v.i].pairs > 0);
const verdictVar = name => `--verdict-${name}`;
const percent = x => `${num(100 * x)}%`;

function purposePicture(figure) {
  const a = array('verdict/by_frequency'), all = d3.sum(run.verdicts, v => v.pairs);
  const draw = rope => {
    const n = run.ropes[rope].pairs, floor = new Array(n).fill(0), r = run.ropes[rope];
    const series = verdictOrder.map(v => ({
      name: `${v.name}: ${percent(run.verdicts[v.i].pairs / all)}`, short: v.name, kind: 'bar', colour: `var(${verdictVar(v.name)})`, index: 0, of: 1,
      points: d3.range(n).map(p => { const y = cell(a, rope, v.i, p) || 0, from = floor[p]; floor[p] += y; return { x: p, y, from }; }),
    }));
    return plot(figure, {
      x: { type: 'linear', domain: [-0.6, n - 0.4], label: run.rotates ? 'pair, fastest to slowest' : 'component pair', ticks: pairTicks(n), format: String },
      y: { type: 'linear', domain: [0, 1], label: 'share of heads', format: d3.format('.0%') }, top: topAxis(r), series, height: 330,
      reading: { xs: d3.range(n), hint: 'Point at a pair, or focus the picture and use the arrow keys.', say: p => `pair ${p}, ${r.wavelength[p] ? `wavelength ${num(r.wavelength[p])}` : 'not rotated'}: ` + series.filter(s => s.points[p].y > 0).map(s => `${s.short} ${percent(s.points[p].y)}`).join(', ') },
      numbers: () => ({ columns: ['pair', 'wavelength', ...series.map(s => s.short)], rows: d3.range(n).map(p => [String(p), r.wavelength[p], ...series.map(s => s.points[p].y)]) }),
      label: 'Share of heads by verdict and pair',
    });
  };
  byRope(figure, draw);
}

/* --- by layer --- */

function paintShares(canvas, geo, count) {
  const colours = verdictOrder.map(v => ({ ...v, colour: colourOf(verdictVar(v.name)) })), dpr = window.devicePixelRatio || 1;
  paintGrid(canvas, geo, (l, p) => (p < layerOf(l).pairs ? emptyColour() : null));
  const c = canvas.getContext('2d'), edge = (x, size) => Math.round(x * size * dpr);
  for (let l = 0; l < geo.L; l++) {
    for (let p = 0; p < layerOf(l).pairs; p++) {
      const total = d3.sum(verdictOrder, v => cell(count, l, v.i, p));
      let from = 0;
      for (const v of colours) {
        const to = from + cell(count, l, v.i, p) / total;
        if (!(to > from)) continue;
        c.fillStyle = v.colour;
        c.fillRect(edge(p, geo.cw), edge(l + from, geo.ch), edge(p + 1, geo.cw) - edge(p, geo.cw), edge(l + to, geo.ch) - edge(l + from, geo.ch));
        from = to;
      }
    }
  }
  /* Rows apart, so that one layer's last colour is not read as the next one's first. */
  c.fillStyle = getComputedStyle(document.body).backgroundColor;
  for (let l = 1; l < geo.L; l++) c.fillRect(0, edge(l, geo.ch), canvas.width, Math.max(1, Math.round(dpr)));
}

function cellVerdicts(panel, l, p, close) {
  const a = array('contribution/verdict');
  const items = d3.range(layerOf(l).heads).map(h => {
    const v = run.verdicts[cell(a, l, h, p)];
    return make('tr', null, make('td', { class: 't' }, make('a', { href: `#l${l}h${h}` }, `head ${h}`)), make('td', { class: 't' }, v ? v.name : '–'),
      make('td', null, num(cell(array('contribution/kl_zero'), l, h, p))), make('td', null, num(cell(array('contribution/kl_unrotate'), l, h, p))));
  });
  const title = make('h3', { tabindex: '-1' }, `Heads of layer ${l}, pair ${p} (${wavelengthWords(l, p)})`);
  const head = make('tr', null, ...['head', 'verdict'].map(w => make('th', { scope: 'col', class: 't' }, w)), ...['without it, nats', 'un-rotated, nats'].map(w => make('th', { scope: 'col' }, w)));
  panel.replaceChildren(title, make('div', { class: 'box' }, make('table', { class: 'short' }, make('thead', null, head), make('tbody', null, ...items))),
    make('p', { class: 'tools' }, make('button', { type: 'button', onclick: close }, 'Close (Esc)')));
  panel.hidden = false;
  title.focus({ preventScroll: true });
}

function wherePicture(figure) {
  const count = array('verdict/count'), before = figure.querySelector('figcaption');
  const readout = make('output', { class: 'readout', 'aria-live': 'polite' }), scroll = make('div', { class: 'scroll' });
  const holder = make('div', { class: 'map', tabindex: '0', role: 'application', 'aria-label': 'Verdicts by layer and pair. Arrow keys move between cells, Enter lists the heads of a cell.' });
  const canvas = make('canvas', { 'aria-hidden': 'true' }), panel = make('div', { class: 'cell-heads', hidden: true }), state = {};
  const close = () => {
    if (panel.hidden) return false;
    panel.hidden = true;
    holder.focus({ preventScroll: true });
    return true;
  };
  closers.push(close);
  const cursor = gridCursor({
    holder, canvas, geo: () => state.geo, outline: () => state.outline, columns: l => layerOf(l).pairs, readout,
    hint: 'Point at a cell, or focus the map and use the arrow keys.',
    say: (l, p) => `layer ${l}, pair ${p}, ${wavelengthWords(l, p)}: ` + verdictOrder.filter(v => cell(count, l, v.i, p) > 0).map(v => `${cell(count, l, v.i, p)} ${v.name}`).join(', '),
    open: () => cellVerdicts(panel, cursor.at.l, cursor.at.p, close),
  });
  const draw = width => {
    const geo = (state.geo = geometry(width, 3)), size = s => s.attr('width', geo.left + geo.w + geo.right).attr('height', geo.top + geo.h + geo.bottom).attr('aria-hidden', 'true');
    holder.style.width = geo.left + geo.w + geo.right + 'px';
    const svg = size(d3.create('svg')), marks = size(d3.create('svg')).attr('class', 'overlay');
    drawFrame(svg, geo);
    drawWavelengths(marks, geo);
    drawMarks(marks, geo);
    state.outline = cursorOutline(marks.append('g'));
    paintShares(canvas, geo, count);
    holder.replaceChildren(svg.node(), canvas, marks.node());
    cursor.show();
  };
  scroll.append(holder);
  figure.insertBefore(make('div', { class: 'legend' }, ...verdictOrder.map(v => make('span', null, swatch({ kind: 'bar', colour: `var(${verdictVar(v.name)})` }), v.name))), before);
  figure.insertBefore(make('div', null, readout, scroll), before);
  onWidth(scroll, draw);
  addTools(figure, () => ({
    columns: ['layer', 'pair', ...verdictOrder.map(v => v.name)],
    rows: d3.range(run.n_layers).flatMap(l => d3.range(layerOf(l).pairs).map(p => [String(l), String(p), ...verdictOrder.map(v => cell(count, l, v.i, p))])),
  }));
  figure.append(panel);
}

/* --- in a head --- */

/* What fills most of a map is pale there; a dot alone must be seen. */
const dotColour = { idle: '--kind-first', undecided: '--ink' };

function purposeFigure(h) {
  const a = array('contribution/verdict'), zero = array('contribution/kl_zero'), still = array('contribution/kl_unrotate'), l = h.layer;
  if (!a || !zero) return null;
  const f = headFigure('What is each pair for?', 'how far the head’s attention moves (divergence, nats, mean over sampled rows) when the pair is removed (dots, coloured by what the pair is for) and when it no longer turns (rings). A ring near its dot: rotation is what the pair is there for. Dashed: 0.01 nats, below which a pair that pulls at nothing is idle. What is smaller than the axis lies on its lower edge.');
  const pairs = d3.range(layerOf(l).pairs), floor = 1e-5;
  const points = (b, want) => pairs.filter(p => cell(a, l, h.head, p) === want || want < 0).map(p => ({ x: p, y: Math.max(floor, cell(b, l, h.head, p)) })).filter(d => Number.isFinite(d.y));
  const series = verdictOrder.map(v => ({ name: v.name, kind: 'dots', r: 4, colour: `var(${dotColour[v.name] || verdictVar(v.name)})`, points: points(zero, v.i) })).filter(s => s.points.length);
  if (run.rotates && still) series.push({ name: 'no longer rotated', kind: 'dots', open: true, r: 4, colour: 'var(--unrotate)', points: points(still, -1).filter(d => ropeOf(l).theta[d.x] > 0) });
  const top = d3.max(series, s => d3.max(s.points, d => d.y));
  openHead.stops.push(plot(f, {
    x: pairAxis(l), y: { type: 'log', domain: [floor, Math.max(0.1, 10 ** Math.ceil(Math.log10(top)))], label: 'attention moved, nats' }, top: topAxis(ropeOf(l)), series,
    rules: [{ y: 0.01, rule: 'dashed' }],
    reading: { xs: pairs, hint: 'Point at a pair.', say: p => `pair ${p}, ${wavelengthWords(l, p)}: ${(run.verdicts[cell(a, l, h.head, p)] || { name: 'no verdict' }).name}; without it ${num(cell(zero, l, h.head, p))} nats, un-rotated ${num(cell(still, l, h.head, p))}` },
    numbers: () => ({ columns: ['pair', 'wavelength', 'verdict', 'removed, nats', 'un-rotated, nats'], rows: pairs.map(p => [String(p), ropeOf(l).wavelength[p], (run.verdicts[cell(a, l, h.head, p)] || { name: '' }).name, cell(zero, l, h.head, p), cell(still, l, h.head, p)]) }),
    label: 'Verdict and divergences by pair', height: 300,
  }).stop);
  return f;
}

/* --- ablations --- */

const editNames = { zero: 'removed', unrotate: 'no longer rotated', scale: 'scaled' };
const inAllHeads = x => x.layer === null && x.heads === '';
/* Losses from thousandths of a nat to several: linear near 0, logarithmic beyond. */
function lossAxis(rows) {
  const values = rows.flatMap(x => [x.delta, x.least, x.most, x.lo, x.hi]).filter(x => x !== null), lo = Math.min(0, d3.min(values)), hi = Math.max(0.02, d3.max(values));
  return { type: 'distance', constant: 0.01, domain: [lo, hi], label: 'change of the loss, nats', ticks: [-1, -0.1, -0.01, 0, 0.01, 0.1, 1, 10].filter(t => t >= lo && t <= hi), format: t => (t < 0 ? '−' : '') + short2(Math.abs(t)) };
}
const variants = d3.range(1, 9).map(i => `var(--variant-${i})`);

function fractionFigure(mode) {
  const rows = run.ablations.filter(x => x.experiment === 'fraction' && x.mode === mode && inAllHeads(x));
  if (rows.length === 0) return null;
  const rankings = Array.from(new Set(rows.map(x => x.ranking))), amounts = Array.from(new Set(rows.map(x => x.amount))).sort(d3.ascending);
  const at = (r, m) => rows.find(x => x.ranking === r && x.amount === m) || {};
  const value = x => (x === null || x === undefined ? NaN : x);
  const controls = amounts.map(m => rows.find(x => x.amount === m && x.controls > 0) || {});
  const series = [
    ...(controls.some(c => c.controls) ? [{ name: 'random pairs: median and range', colour: 'var(--soft)', dashed: true, points: amounts.map((m, i) => ({ x: m, y: value(controls[i].control), lo: value(controls[i].least), hi: value(controls[i].most) })) }] : []),
    ...rankings.map((r, i) => ({ name: r, colour: variants[i % variants.length], dashed: i >= variants.length ? 2 : false, shift: 2 * (i - (rankings.length - 1) / 2), points: amounts.map(m => { const a = at(r, m); return { x: m, y: value(a.delta), lo: value(a.lo), hi: value(a.hi) }; }) })),
  ];
  const f = headFigure(`Giving up a growing share of pairs: ${editNames[mode] || mode}`, 'one line per order in which each head gives its pairs up; lower is a better order. high gives up the slowest first, low the fastest, uniform spreads what is kept; the others take the smallest values of the named measure first. Bars: 95% interval over sequences. The vertical scale is linear up to 0.01 and logarithmic above.');
  plot(f, {
    x: { type: 'linear', domain: [0, d3.max(amounts)], label: 'share of each head’s pairs', format: d3.format('.0%'), ticks: amounts }, y: lossAxis(rows), series, height: 330, rules: [{ y: 0 }],
    reading: { xs: amounts, hint: 'Point at a share.', say: i => `${percent(amounts[i])} of the pairs: ` + series.map(s => `${s.name.split(':')[0]} ${signed(s.points[i].y)}`).join(', ') },
    numbers: () => ({ columns: ['share', ...series.flatMap(s => [s.name, 'from', 'to'])], rows: amounts.map((m, i) => [m, ...series.flatMap(({ points }) => [points[i].y, points[i].lo, points[i].hi])]) }),
    label: `Loss by share of pairs ${editNames[mode]}`,
  });
  return f;
}
const signed = x => (Number.isFinite(x) ? (x < 0 ? '−' : '+') + num(Math.abs(x)) : '–');

function bandFigure() {
  const rows = run.ablations.filter(x => x.experiment === 'band' && inAllHeads(x)), modes = Array.from(new Set(rows.map(x => x.mode)));
  if (rows.length === 0) return null;
  const bands = Array.from(new Set(rows.map(x => x.amount))).sort(d3.ascending);
  const series = modes.map((m, i) => ({
    name: editNames[m] || m, kind: 'dots', r: 3.5, colour: m === 'zero' ? 'var(--zero)' : m === 'unrotate' ? 'var(--unrotate)' : variants[i],
    points: rows.filter(x => x.mode === m).map(x => ({ x: x.amount + 0.16 * (i - (modes.length - 1) / 2), band: x.amount, y: x.delta, lo: x.lo === null ? NaN : x.lo, hi: x.hi, pairs: x.pairs })),
  }));
  const rules = modes.flatMap(m => { const c = rows.find(x => x.mode === m && x.controls > 0); return c ? [{ y: c.control, name: `random pairs, ${editNames[m]}`, rule: m === 'zero' ? 'dashed' : 'dotted' }] : []; });
  const f = headFigure('One band of frequencies at a time', 'all heads lose one of eight bands of neighbouring pairs, the fastest on the left; bars: 95% interval over sequences; lines: as many random pairs. The vertical scale is linear up to 0.01 and logarithmic above.');
  plot(f, {
    x: { type: 'linear', domain: [-0.5, bands.length - 0.5], label: 'band, fastest to slowest', ticks: bands, format: String }, y: lossAxis(rows), series, rules: [{ y: 0 }, ...rules], height: 330,
    reading: { xs: bands, hint: 'Point at a band.', say: i => `band ${bands[i]}: ` + series.map(s => { const d = s.points.find(q => q.band === bands[i]); return d ? `${s.name} ${signed(d.y)} (${signed(d.lo)} to ${signed(d.hi)})` : ''; }).join(', ') },
    numbers: () => ({ columns: ['band', ...series.map(s => s.name)], rows: bands.map(b => [String(b), ...series.map(s => (s.points.find(q => q.band === b) || {}).y)]) }),
    label: 'Loss by band',
  });
  return f;
}

/* Every band in every layer alone: a map, for lines of eight bands would cross all the time. */
function layerBandFigure(mode) {
  const rows = run.ablations.filter(x => x.experiment === 'layer-band' && x.mode === mode && x.layer !== null && x.heads === '' && x.delta !== null);
  if (rows.length === 0) return null;
  const bands = Array.from(new Set(rows.map(x => x.amount))).sort(d3.ascending), layers = Array.from(new Set(rows.map(x => x.layer))).sort(d3.ascending);
  const at = new Map(rows.map(x => [`${x.layer} ${x.amount}`, x])), of = (l, b) => at.get(`${layers[l]} ${bands[b]}`) || {};
  const top = d3.max(rows, x => Math.abs(x.delta)) || 1, worst = rows.reduce((a, b) => (b.delta > a.delta ? b : a));
  const f = headFigure(`Which layers need which band: ${editNames[mode] || mode}, one at a time`, 'a row is a layer, the first on top, a column one of eight bands of neighbouring pairs, the fastest on the left; the colour is the change of the loss when all heads of that layer alone lose the band: orange costs, blue helps, on a square-root scale. The largest: ' + `layer ${worst.layer}, band ${worst.amount}, ${signed(worst.delta)} nats.`);
  smallMap(f, {
    label: `Loss by layer and band, ${editNames[mode] || mode}`, colours: 'change of the loss, nats', scale: d3.scaleSqrt().domain([-top, top]).range([-1, 1]), ticks: [-top, -top / 4, 0, top / 4, top], format: t => (t ? signed(t) : '0'),
    left: 46, rows: layers.map(String), columns: bands.map(String), room: 14, cell: { w: [14, 40], h: [8, 18] }, height: 360, x: 'band, fastest to slowest', y: 'layer',
    value: (l, b) => of(l, b).delta,
    say: (l, b) => { const x = of(l, b); return `layer ${layers[l]}, band ${bands[b]}: ${signed(x.delta)}` + (Number.isFinite(x.lo) ? ` (${signed(x.lo)} to ${signed(x.hi)})` : '') + (x.controls > 0 ? `; random pairs ${signed(x.control)}` : ''); },
  });
  addTools(f, () => ({ columns: ['layer', ...bands.map(b => `band ${b}`)], rows: layers.map((l, i) => [String(l), ...bands.map((_, j) => { const { delta = NaN } = of(i, j); return delta; })]) }));
  return f;
}

function triedCurves(holder) {
  if (holder) holder.append(...[bandFigure(), layerBandFigure('zero'), layerBandFigure('unrotate'), layerBandFigure('scale'), fractionFigure('zero'), fractionFigure('unrotate'), fractionFigure('scale')].filter(Boolean));
}

/* --- reliability --- */

/* Share of a head's pairs that get the same verdict from even and from odd sequences. */
function agreePicture(figure) {
  const a = array('contribution/verdict_split_half');
  if (!a) return;
  const points = heads.map(h => ({ x: h.layer, y: cell(a, h.layer, h.head), h: h.head })).filter(d => Number.isFinite(d.y));
  const middle = d3.range(run.n_layers).map(l => ({ x: l, y: d3.mean(points.filter(d => d.x === l), d => d.y) })).filter(d => Number.isFinite(d.y));
  plot(figure, {
    x: { type: 'linear', domain: [-0.6, run.n_layers - 0.4], label: 'layer', format: String, whole: true },
    y: { type: 'linear', domain: [0, 1], label: 'share of pairs with one verdict', format: d3.format('.0%') },
    series: [{ name: 'a head', kind: 'dots', open: true, colour: 'var(--q)', points }, { name: 'mean of the layer', kind: 'line', colour: 'var(--ink)', points: middle }],
    height: 330,
    reading: { xs: middle.map(d => d.x), hint: 'Point at a layer.', say: i => `layer ${middle[i].x}: ${percent(middle[i].y)} of the pairs, least head ${percent(d3.min(points.filter(d => d.x === middle[i].x), d => d.y))}` },
    numbers: () => ({ columns: ['layer', 'head', 'share of pairs with one verdict'], rows: points.map(d => [String(d.x), String(d.h), d.y]) }),
    label: 'Agreement of verdicts between halves, by layer',
  });
}

function klPicture(figure) {
  const pairs = [['kl_zero', 'zeroing', '--zero'], ['kl_unrotate', 'un-rotating', '--unrotate']].filter(([k]) => array(`contribution/${k}`) && array(`contribution/${k}_predicted`) && (run.rotates || k === 'kl_zero'));
  scatterPanels(figure, pairs.map(([k, name, colour]) => ({ name, colour, across: array(`contribution/${k}_predicted`).data, up: array(`contribution/${k}`).data })), { across: 'predicted, nats', up: 'measured, nats' });
  addTools(figure, () => ({
    columns: ['layer', 'head', 'pair', ...pairs.flatMap(([, name]) => [`${name}: predicted`, `${name}: measured`])],
    rows: d3.range(run.n_layers).flatMap(l => d3.range(layerOf(l).heads).flatMap(h => d3.range(layerOf(l).pairs).map(p => [String(l), String(h), String(p), ...pairs.flatMap(([k]) => [cell(array(`contribution/${k}_predicted`), l, h, p), cell(array(`contribution/${k}`), l, h, p)])]))),
  }));
}
