/* The small pictures, reliability, loss. */

/* Pictures over frequency show one rotary table: the one most layers use; a switch offers the others. */
const shownRopes = run.ropes.map((r, i) => ({ ...r, i })).filter(r => r.rotated > 0 || !run.rotates);
const mainRope = shownRopes.reduce((a, b) => (b.layers.length > a.layers.length ? b : a), shownRopes[0]);
const shorten = r => (r.base ? `base ${short(r.base)}` : thinWords(r.words)) + ` (${r.layers.length} layer${r.layers.length > 1 ? 's' : ''})`;

const [MEAN, MEDIAN, LOW, HIGH] = [0, 1, 2, 3];

/* of: 'control/' for the run with shuffled weights, which is drawn as a line without its spread. */
function byFrequency(key, rope, middle, of = '') {
  const a = array(of + 'by_frequency/' + key);
  if (!a) return [];
  const r = run.ropes[rope], spread = (s, p) => (of ? NaN : cell(a, rope, s, p));
  const points = d3.range(Math.min(a.dims[2], r.pairs)).map(p => ({ x: p, y: cell(a, rope, middle, p), lo: spread(LOW, p), hi: spread(HIGH, p) }));
  return withHole(points.filter(d => !Number.isNaN(d.y)), r);
}

/* Draws for the main table and, where there are several, offers the others. draw(rope) returns {stop}. */
function byRope(figure, draw) {
  const kept = Array.from(figure.children);
  let now = draw(mainRope.i);
  if (shownRopes.length < 2) return;
  const choice = make('select', { 'aria-label': 'Layers shown, by rotation', onchange: e => { now.stop(); figure.replaceChildren(...kept); now = draw(+e.target.value); place(); } },
    ...shownRopes.map(r => make('option', { value: r.i, selected: r.i === mainRope.i }, shorten(r))));
  const place = () => figure.querySelector('.tools').append(choice);
  place();
}

function frequencyPlot(figure, o) {
  const draw = rope => {
    const n = run.ropes[rope].pairs, series = o.series.map(s => ({ ...s, kind: 'line', points: byFrequency(s.key, rope, o.middle, s.of) })).filter(s => s.points.length);
    if (series.length === 0) return { stop() {} };
    const wave = p => (run.ropes[rope].wavelength[p] ? `wavelength ${num(run.ropes[rope].wavelength[p])}` : 'not rotated');
    return plot(figure, {
      x: { type: 'linear', domain: [0, n - 1], label: run.rotates ? 'pair, fastest to slowest' : 'component pair', ticks: pairTicks(n), format: String },
      y: o.y(series), top: topAxis(run.ropes[rope]), series, rules: o.rules(n), height: 290,
      reading: { xs: d3.range(n), hint: 'Point at the picture, or focus it and use the arrow keys.', say: p => `pair ${p}, ${wave(p)}: ` + series.map(s => `${s.name} ${num(atPair(s.points, p))}`).join(', ') },
      numbers: () => ({ columns: ['pair', 'wavelength', ...series.flatMap(s => [s.name, s.name + ', 10th percentile', s.name + ', 90th percentile'])], rows: d3.range(n).map(p => [String(p), run.ropes[rope].wavelength[p], ...series.flatMap(s => { const d = s.points.find(q => q.x === p) || {}; return [d.y, d.lo, d.hi]; })]) }),
      label: figure.querySelector('h3').textContent,
    });
  };
  byRope(figure, draw);
}

const controls = list => list.map(([key, name, colour]) => ({ key, name: name + ', control', colour, dashed: 2, of: 'control/' }));

function normPicture(figure) {
  frequencyPlot(figure, {
    middle: MEAN,
    series: [{ key: 'q_share', name: 'query', colour: 'var(--q)' }, { key: 'k_share', name: 'key', colour: 'var(--k)' }, { key: 'v_share', name: 'value', colour: 'var(--v)', dashed: true },
      ...controls([['q_share', 'query', 'var(--q)'], ['k_share', 'key', 'var(--k)']])],
    y: series => ({ type: 'linear', domain: [0, 1.05 * d3.max(series, s => d3.max(s.points, d => (Number.isFinite(d.hi) ? d.hi : d.y)))], label: 'share of a head’s norm' }),
    rules: n => [{ y: 1 / n, name: 'uniform' }],
  });
}

function costPicture(figure) {
  frequencyPlot(figure, {
    middle: MEDIAN,
    series: [{ key: 'zero_cost', name: 'zeroing', colour: 'var(--zero)' }, { key: 'unrotate_cost', name: 'un-rotating', colour: 'var(--unrotate)' },
      ...controls([['zero_cost', 'zeroing', 'var(--zero)'], ['unrotate_cost', 'un-rotating', 'var(--unrotate)']])],
    y: series => ({ type: 'log', domain: logDomain(series.flatMap(s => s.points.flatMap(d => [d.y, d.lo, d.hi])), 6), label: 'of the logit variance' }),
    rules: () => [],
  });
}

function kindsPicture(figure) {
  const a = array('head_kinds/count');
  if (!a) return;
  const used = run.kinds.map((k, i) => ({ ...k, i, total: d3.sum(d3.range(run.n_layers), l => cell(a, l, i)) })).filter(k => k.total > 0);
  const floor = new Array(run.n_layers).fill(0);
  const series = used.map(k => ({
    name: `${k.name}: ${k.total}`, kind: 'bar', colour: `var(--kind-${k.key})`, index: 0, of: 1,
    points: d3.range(run.n_layers).map(l => { const y = cell(a, l, k.i), from = floor[l]; floor[l] += y; return { x: l, y, from }; }),
  }));
  plot(figure, {
    x: { type: 'linear', domain: [-0.6, run.n_layers - 0.4], label: 'layer', format: String, whole: true },
    y: { type: 'linear', domain: [0, run.n_heads], label: 'heads', whole: true, format: String },
    series, height: 290,
    reading: { xs: d3.range(run.n_layers), hint: 'Point at a layer.', say: l => `layer ${l}: ` + used.filter(k => cell(a, l, k.i) > 0).map(k => `${cell(a, l, k.i)} ${k.name}`).join(', ') },
    numbers: () => ({ columns: ['layer', ...used.map(k => k.name)], rows: d3.range(run.n_layers).map(l => [String(l), ...used.map(k => cell(a, l, k.i))]) }),
    label: 'Heads of each kind by layer',
  });
}

/* One panel of two numbers for each pair: tens of thousands of dots, so they are painted. d: {name, colour, across, up}. */
function scatterPanel(d, domain, side, words) {
  const m = { left: 46, top: 24, right: 10, bottom: 42 }, dpr = window.devicePixelRatio || 1;
  const x = d3.scaleLog().domain(domain).range([0, side]).clamp(true), y = d3.scaleLog().domain(domain).range([side, 0]).clamp(true), ticks = decades(domain, Math.max(3, side / 45));
  const canvas = make('canvas', { width: Math.round(side * dpr), height: Math.round(side * dpr), 'aria-hidden': 'true' }), c = canvas.getContext('2d');
  canvas.style.cssText = `position:absolute;left:${m.left}px;top:${m.top}px;width:${side}px;height:${side}px`;
  c.scale(dpr, dpr);
  c.fillStyle = colourOf(d.colour);
  c.globalAlpha = d.across.length > 20000 ? 0.15 : 0.35;
  for (let i = 0; i < d.across.length; i++) {
    if (d.across[i] > 0 && d.up[i] > 0) c.fillRect(x(d.across[i]) - 1, y(d.up[i]) - 1, 2, 2);
  }
  const svg = d3.create('svg').attr('width', m.left + side + m.right).attr('height', m.top + side + m.bottom).attr('role', 'img').attr('aria-label', `${d.name}: ${words.across} against ${words.up}`);
  const g = svg.append('g').attr('transform', `translate(${m.left},${m.top})`);
  g.append('g').attr('class', 'axis').call(d3.axisLeft(y).tickValues(ticks).tickFormat(short).tickSize(4));
  g.append('g').attr('class', 'axis').attr('transform', `translate(0,${side})`).call(d3.axisBottom(x).tickValues(ticks).tickFormat(short).tickSize(4));
  g.append('line').attr('class', 'rule dashed').attr('y1', side).attr('x2', side);
  g.append('text').attr('class', 'title').attr('x', side / 2).attr('y', side + 34).attr('text-anchor', 'middle').text(words.across);
  g.append('text').attr('class', 'title').attr('x', -m.left + 2).attr('y', -9).text(`${d.name}: ${words.up}`);
  return make('div', { class: 'plot' }, canvas, svg.node());
}

function scatterPicture(figure) {
  const pairs = [['zero_cost', 'zeroing', '--zero'], ['unrotate_cost', 'un-rotating', '--unrotate']].filter(([k]) => array('moments/' + k) && array('moments/' + k + '_sampled') && (run.rotates || k === 'zero_cost'));
  scatterPanels(figure, pairs.map(([k, name, colour]) => ({ name, colour, across: array('moments/' + k).data, up: array('moments/' + k + '_sampled').data })), { across: 'closed form, of the logit variance', up: 'sampled, of the logit variance' });
  const ratio = array('reliability/sampled_over_closed');
  addTools(figure, () => ({
    columns: ['layer', 'zeroing: sampled / closed (geometric mean)', 'un-rotating: sampled / closed (geometric mean)'],
    rows: d3.range(run.n_layers).map(l => [String(l), cell(ratio, l, 0), cell(ratio, l, 1)]),
  }));
}

function scatterPanels(figure, dots, words) {
  const domain = logDomain(dots.flatMap(d => Array.from(d.up)), 7), before = figure.querySelector('figcaption');
  const box = make('div', { class: 'panels' });
  figure.insertBefore(legendOf([...dots.map(d => ({ name: d.name, colour: `var(${d.colour})`, kind: 'dots' })), { name: 'equal', rule: 'dashed' }]), before);
  figure.insertBefore(box, before);
  onWidth(box, width => {
    const beside = dots.length > 1 && width >= 480, side = Math.min(320, (beside ? width / 2 : width) - 58);
    box.replaceChildren(...dots.map(d => scatterPanel(d, domain, Math.floor(side), words)));
  });
}

/* Edits of one band in one layer: what was measured of single pairs against the loss. Fields of a row: closed form, sampled, KL, 2-norm,
 * change of the loss. */
const foretoldCosts = [{ at: 2, name: 'divergence of the attention, nats', key: 'kl' }, { at: 0, name: 'closed form, of the logit variance', key: 'closed' }];
function foretoldPicture(figure) {
  const edits = [['zero', '--zero'], ['unrotate', '--unrotate']].map(([mode, colour]) => ({ mode, colour, a: array('reliability/foretold_' + mode) })).filter(e => e.a);
  const cost = foretoldCosts.find(c => edits.some(e => d3.range(e.a.dims[0]).some(i => cell(e.a, i, c.at) > 0)));
  if (!cost) return;
  const points = e => d3.range(e.a.dims[0]).map(i => ({ x: cell(e.a, i, cost.at), y: cell(e.a, i, 4) })).filter(d => d.x > 0 && Number.isFinite(d.y));
  const series = edits.map(e => ({ name: `${editNames[e.mode]}: rank correlation ${num((run.foretold.find(f => f.mode === e.mode) || {})[cost.key])}`, kind: 'dots', open: e.mode === 'unrotate', colour: `var(${e.colour})`, points: points(e) }));
  const all = series.flatMap(s => s.points);
  plot(figure, {
    x: { type: 'log', domain: logDomain(all.map(d => d.x), 7), label: cost.name }, y: lossAxis(all.map(d => ({ delta: d.y, least: null, most: null, lo: null, hi: null }))),
    series, rules: [{ y: 0 }], height: 330,
    numbers: () => ({ columns: ['edit', cost.name, 'change of the loss, nats'], rows: edits.flatMap((e, i) => series[i].points.map(d => [editNames[e.mode], d.x, d.y])) }),
    label: 'Change of the loss against the divergence of the attention',
  });
}

/* A custom property as a colour a canvas understands. */
function colourOf(name) {
  const probe = make('span', { hidden: true });
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

/* What even and odd sequences were compared in, head by head; correlations are shown as what they lack of 1. */
const splitQuantities = [
  { name: 'norms of the pairs', axis: '1 − r over pairs', of: r => 1 - r, sides: [['query heads', 'frequency_norm/q_split_half', 'n_heads', 'var(--q)', true], ['key heads', 'frequency_norm/k_split_half', 'n_kv_heads', 'var(--k)', false]] },
  { name: 'costs of the pairs', axis: '1 − r over pairs', of: r => 1 - r, sides: [['zeroing', 'moments/zero_cost_split_half', 'n_heads', 'var(--zero)', false], ...(run.rotates ? [['un-rotating', 'moments/unrotate_cost_split_half', 'n_heads', 'var(--unrotate)', true]] : [])] },
  { name: 'mean logit by distance', axis: '1 − r over distances', of: r => 1 - r, sides: [['heads', 'angular_spectrum/mean_logit_split_half', 'n_heads', 'var(--q)', true]] },
  { name: 'utility', axis: '1 − r over components', of: r => 1 - r, sides: [['heads', 'utility/split_half', 'n_heads', 'var(--q)', true]] },
  { name: 'previous, first, diagonal', axis: 'largest difference', of: x => x, sides: [['heads', 'attention_pattern/split_half', 'n_heads', 'var(--q)', true]] },
];

function splitSeries(q) {
  return q.sides.map(([name, key, heads, colour, open]) => {
    const a = array(key), points = [];
    for (let l = 0; a && l < run.n_layers; l++) for (let h = 0; h < run[heads]; h++) { const x = cell(a, l, h); if (Number.isFinite(x)) points.push({ x: l, y: Math.max(1e-7, q.of(x)), h }); }
    return { name, kind: 'dots', open, colour, points };
  }).filter(s => s.points.length);
}

function splitPicture(figure) {
  const there = splitQuantities.map(q => ({ ...q, series: splitSeries(q) })).filter(q => q.series.length), kept = Array.from(figure.children);
  if (there.length === 0) return;
  const worst = (s, l) => d3.max(s.points.filter(d => d.x === l), d => d.y);
  const draw = q => plot(figure, {
    x: { type: 'linear', domain: [-0.6, run.n_layers - 0.4], label: 'layer', format: String, whole: true },
    y: { type: 'log', domain: logDomain(q.series.flatMap(s => s.points.map(d => d.y)), 6), label: q.axis },
    series: q.series, height: 330,
    reading: { xs: d3.range(run.n_layers), hint: 'Point at a layer.', say: l => `layer ${l}, least agreement: ` + q.series.map(s => `${s.name} ${q.axis.split(' over')[0]} = ${num(worst(s, l))}`).join(', ') },
    numbers: () => ({ columns: ['layer', ...q.series.map(s => `${s.name}: largest ${q.axis}`)], rows: d3.range(run.n_layers).map(l => [String(l), ...q.series.map(s => worst(s, l))]) }),
    label: 'Split half disagreement by layer: ' + q.name,
  });
  let now = draw(there[0]);
  if (there.length < 2) return;
  const choice = make('select', { 'aria-label': 'What the halves are compared in', onchange: e => { now.stop(); figure.replaceChildren(...kept); now = draw(there[+e.target.value]); place(); } }, ...there.map((q, i) => make('option', { value: i }, q.name)));
  const place = () => figure.querySelector('.tools').append(choice);
  place();
}

function lossPicture(figure) {
  const a = array('loss/by_position');
  if (!a) return;
  const points = d3.range(a.dims[0]).map(b => {
    const [first, last, mean, error, n] = d3.range(5).map(f => cell(a, b, f));
    return { x: Math.sqrt(first * last), y: mean, lo: Number.isFinite(error) ? mean - error : NaN, hi: mean + error, first, last, error, n };
  }).filter(d => Number.isFinite(d.y));
  const span = d => (d.first === d.last ? `position ${count(d.first)}` : `positions ${count(d.first)}–${count(d.last)}`);
  const [lo, hi] = d3.extent(points.flatMap(d => [d.y, d.lo, d.hi]).filter(Number.isFinite));
  plot(figure, {
    x: { type: 'log', domain: [1, points[points.length - 1].last], label: 'position in the sequence', ticks: [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144].filter(t => t <= points[points.length - 1].last) },
    y: { type: 'linear', domain: d3.scaleLinear().domain([Math.max(0, lo), hi]).nice(5).domain(), label: 'loss in nats' },
    series: [{ kind: 'line', colour: 'var(--ink)', points: points.map(d => ({ x: d.x, y: d.y })) }, { kind: 'dots', colour: 'var(--ink)', points }],
    rules: run.mean_nll !== null ? [{ y: run.mean_nll, name: `mean ${run.mean_nll.toFixed(3)} nats`, rule: 'dashed' }] : [],
    reading: { xs: points.map(d => d.x), hint: 'Point at the curve.', say: i => `${span(points[i])}: ${points[i].y.toFixed(3)} nats, perplexity ${num(Math.exp(points[i].y))}` + (Number.isFinite(points[i].error) ? `, standard error ${num(points[i].error)}` : '') + `, ${count(points[i].n)} tokens` },
    numbers: () => ({ columns: ['from position', 'to position', 'mean loss, nats', 'standard error', 'tokens'], rows: points.map(d => [d.first, d.last, d.y, d.error, d.n]) }),
    label: 'Loss by position', height: 300,
  });
}

const pictures = { norm: normPicture, cost: costPicture, kinds: kindsPicture, map: layerMap, purpose: purposePicture, where: wherePicture, kl: klPicture, spectrum: spectrumPicture, agree: agreePicture, scatter: scatterPicture, foretold: foretoldPicture, split: splitPicture, loss: lossPicture };

/* n and p walk through the heads while one is open. */
function walkHeads(key) {
  if (openHead.at < 0 || (key !== 'n' && key !== 'p')) return;
  const h = heads[openHead.at + (key === 'n' ? 1 : -1)];
  if (h) location.hash = `#l${h.layer}h${h.head}`;
}

document.querySelectorAll('figure[data-plot]').forEach(f => pictures[f.dataset.plot](f));
triedCurves(document.getElementById('tried-curves'));
headsTable(document.getElementById('heads-table'));
closers.unshift(() => closeHead(true));
setTheme();
setKeys(walkHeads);
setPrint();
addEventListener('hashchange', followAddress);
followAddress();
