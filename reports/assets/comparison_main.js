/* The pictures of a comparison. */

const padded = (lo, hi) => { const d = (hi - lo || Math.abs(hi) || 1) * 0.08; return [lo - d, hi + d]; };

/* 95% half width of a mean over n runs: that of a difference is t s sqrt(1/n + 1/n0). */
function meanWidth(q, v) {
  const widths = q.values.map((o, i) => ({ w: real(o.half_width), n: variants[i].n_compared })).filter(o => Number.isFinite(o.w));
  if (widths.length === 0) return NaN;
  return (widths[0].w / Math.sqrt(1 / widths[0].n + 1 / first.n_compared)) * Math.sqrt(1 / v.n_compared);
}

function lossPicture(figure) {
  const q = quantityOf('loss'), nats = x => x.toFixed(3), rows = variants.filter(v => Number.isFinite(real(q.values[v.i].mean))).map(v => {
    const e = q.values[v.i], w = meanWidth(q, v), runs = e.runs.length > 1 ? ` (runs: ${e.runs.map(nats).join(', ')})` : '';
    return {
      name: v.label, colour: v.colour, mean: e.mean, lo: e.mean - w, hi: e.mean + w, marks: e.runs.map((x, k) => ({ x: real(x), open: k > 0 })),
      say: `${v.label}: ${nats(e.mean)}${Number.isFinite(w) ? ' ± ' + nats(w) : ''} nats${runs}`,
    };
  });
  const [lo, hi] = d3.extent(rows.flatMap(r => [...r.marks.map(m => m.x), r.lo, r.hi]).filter(Number.isFinite));
  markRows(figure, {
    rows, height: Math.max(30, Math.min(56, 210 / rows.length)), x: { domain: padded(lo, hi), label: 'loss in nats', format: d3.format('.2f') }, label: 'Loss of each run by variant',
    numbers: () => ({ columns: ['variant', 'run', 'loss, nats'], rows: rows.flatMap(r => r.marks.map((m, k) => [r.name, String(k + 1), m.x])) }),
  });
}

const bucketMiddle = ([a, b]) => Math.sqrt(a * b);
const positions = ([a, b]) => (a === b ? `position ${count(a)}` : `positions ${count(a)}–${count(b)}`);
const positionTicks = most => [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144].filter(t => t <= most);

function positionPicture(figure) {
  const shown = variants.filter(v => v.compared && v.shown[0].loss_by_position.length > 0);
  if (shown.length === 0) return;
  const buckets = shown[0].shown[0].loss_by_position, mean = (v, b) => d3.mean(v.shown.slice(0, v.n_compared), r => real(r.loss_by_position[b][2]));
  const series = shown.map(v => ({ name: v.label, kind: 'line', colour: v.colour, dashed: v.dash, points: buckets.map((b, k) => ({ x: bucketMiddle(b), y: mean(v, k) })) }));
  const values = series.flatMap(s => s.points.map(p => p.y)).filter(Number.isFinite), last = buckets[buckets.length - 1][1];
  plot(figure, {
    x: { type: 'log', domain: [1, last], label: 'position in the sequence', ticks: positionTicks(last) },
    y: { type: 'linear', domain: d3.scaleLinear().domain(d3.extent(values)).nice(5).domain(), label: 'loss in nats' },
    series, height: 290, label: 'Loss by position',
    reading: { xs: buckets.map(bucketMiddle), hint: HINT, say: k => `${positions(buckets[k])}: ` + series.map(s => `${s.name} ${s.points[k].y.toFixed(3)}`).join(', ') },
    numbers: () => ({ columns: ['from position', 'to position', ...series.map(s => s.name)], rows: buckets.map((b, k) => [b[0], b[1], ...series.map(s => s.points[k].y)]) }),
  });
}

/* Bands of more variants than this hide one another: each gets a panel. */
const OVERLAID = 3;

function differencePicture(figure) {
  const shown = variants.filter(v => run.loss_differences[v.i]);
  const buckets = run.loss_differences[shown[0].i], last = buckets[buckets.length - 1][1];
  const series = shown.map(v => ({
    name: v.label, kind: 'line', colour: v.colour, dashed: v.dash,
    points: run.loss_differences[v.i].map(b => ({ x: bucketMiddle(b), y: real(b[2]), lo: real(b[2]) - real(b[3]), hi: real(b[2]) + real(b[3]) })),
  }));
  /* The first few positions hold few tokens: their bands would flatten all the others. */
  const far = series.flatMap(s => s.points.filter(p => p.x >= 8 || buckets.length < 6).flatMap(p => [p.lo, p.hi, p.y])).filter(Number.isFinite);
  const draw = (where, some, height, label) => plot(where, {
    x: { type: 'log', domain: [1, last], label: 'position in the sequence', ticks: positionTicks(last) },
    y: { type: 'linear', domain: d3.scaleLinear().domain(d3.extent([0, ...far])).nice(6).domain(), label: 'nats more than the first', clamp: true },
    series: some, rules: [{ y: 0, name: some.length > 1 ? first.label : null }], height, label,
    reading: { xs: buckets.map(bucketMiddle), hint: some.length > 1 || series.length === 1 ? HINT : '', say: k => `${positions(buckets[k])}: ` + some.map(s => `${s.name || ''} ${num(s.points[k].y)} ± ${num(s.points[k].hi - s.points[k].y)}`.trim()).join(', ') },
  });
  if (series.length <= OVERLAID) draw(figure, series, 320, 'Loss difference by position');
  else panelsIn(figure).append(...series.map(s => {
    const panel = make('div', { class: 'panel' }, make('h4', null, `${s.name} minus ${first.label}`));
    draw(panel, [{ ...s, name: null }], 220, `Loss of ${s.name} minus that of ${first.label} by position`);
    return panel;
  }));
  addTools(figure, () => ({ columns: ['from position', 'to position', ...series.flatMap(s => [s.name, '95% half width'])], rows: buckets.map((b, k) => [b[0], b[1], ...series.flatMap(s => [s.points[k].y, s.points[k].hi - s.points[k].y])]) }));
}

/* Where the small multiples of a figure stand. */
function panelsIn(figure, more) {
  const panels = make('div', { class: 'multiples' + (more ? ' ' + more : '') });
  figure.insertBefore(panels, figure.querySelector('figcaption'));
  return panels;
}

function kindsPicture(figure) {
  const used = run.kinds.map((k, i) => ({ ...k, i })).filter(k => run.runs.some(r => r.kinds[k.i] > 0));
  const rows = variants.flatMap(v => v.shown.map((r, n) => {
    const heads = d3.sum(r.kinds), name = n === 0 ? v.label : '', of = v.shown.length > 1 ? `${noted(v)}, run ${n + 1}` : noted(v);
    const parts = used.map(k => ({ share: heads ? r.kinds[k.i] / heads : 0, colour: `var(--kind-${k.key})`, words: `${of}: ${r.kinds[k.i]} of ${heads} heads ${k.name}` }));
    return { name, note: n === 0 ? v.note : '', of: v.label, run: n + 1, kinds: r.kinds, parts, say: `${of}: ` + used.map(k => `${r.kinds[k.i]} ${k.name}`).join(', ') };
  }));
  barRows(figure, {
    rows, height: Math.max(13, Math.min(44, 240 / rows.length)), gap: i => (rows[i].name ? 8 : 0), label: 'Heads of each kind by run',
    legend: used.map(k => ({ name: k.name, kind: 'bar', colour: `var(--kind-${k.key})` })),
    numbers: () => ({ columns: ['variant', 'run', ...used.map(k => k.name)], rows: rows.map(r => [r.of, String(r.run), ...used.map(k => r.kinds[k.i])]) }),
  });
}

/* Pairs of a variant in the order of the first where both pair the same components. */
const ordered = (v, x) => (v.aligned ? v.aligned.map(p => x[p]) : x);
const pairOf = (v, column) => (v.aligned ? v.aligned[column] : column);
const restsAt = (v, column) => !v.rope.wavelength[pairOf(v, column)];
const wave = (v, column) => (restsAt(v, column) ? 'not rotated' : `wavelength ${num(v.rope.wavelength[pairOf(v, column)])}`);

function runsOfRests(v) {
  const out = [];
  for (let p = 0; p < v.pairs; p++) {
    if (!restsAt(v, p)) continue;
    if (out.length && out[out.length - 1][1] === p) out[out.length - 1][1] = p + 1;
    else out.push([p, p + 1]);
  }
  return out;
}

const orderWords = v => (v.rope.rotated === 0 ? 'component pairs, no frequencies' : v === first ? 'from the fastest pair to the slowest' + (v.rope.rotated < v.pairs ? ', then the rest' : '')
  : v.aligned ? 'pairs in the order of the first' : 'rotated first, then the rest');

/* Shares times the number of pairs: 1 if all were alike, whatever the width of a head. */
function normPanel(v, top) {
  const panel = make('div', { class: 'panel' }, make('h4', null, noted(v)), make('p', { class: 'panel-note' }, orderWords(v)));
  const line = (x, name, colour, thin) => ({ name: thin ? null : name, kind: 'line', colour, thin, points: ordered(v, x).map((y, p) => ({ x: p, y: real(y) * v.pairs })) });
  const series = [['q_share', 'query', 'var(--q)'], ['k_share', 'key', 'var(--k)']].filter(([key]) => v[key]).flatMap(([key, name, colour]) => [
    ...v.shown.filter(r => v.shown.length > 1 && r[key]).map(r => line(r[key], name, colour, true)), line(v[key], name, colour, false)]);
  const main = series.filter(s => !s.thin);
  plot(panel, {
    x: { type: 'linear', domain: [-0.5, v.pairs - 0.5], label: v.rope.rotated === 0 ? 'component pair' : 'pair', ticks: pairTicks(v.pairs), format: String },
    y: { type: 'linear', domain: [0, top], label: 'times uniform' },
    series, rules: [{ y: 1 }], shaded: runsOfRests(v).map(([a, b]) => [a - 0.5, b - 0.5]), height: 210, label: `${v.label}: norm by pair`,
    reading: { xs: d3.range(v.pairs), hint: '', say: p => `pair ${p}, ${wave(v, p)}: ` + main.map(s => `${s.name} ${num(s.points[p].y)}`).join(', ') },
  });
  return panel;
}

function normsPicture(figure) {
  const shown = variants.filter(v => v.q_share || v.k_share);
  const top = 1.05 * d3.max(shown, v => v.pairs * d3.max([v, ...v.shown], o => d3.max([...(o.q_share || []), ...(o.k_share || [])])));
  panelsIn(figure).append(...shown.map(v => normPanel(v, top)));
  addTools(figure, () => ({
    columns: ['variant', 'pair', 'components', 'wavelength', 'query, share', 'key, share', 'value, share'],
    rows: shown.flatMap(v => d3.range(v.pairs).map(c => { const p = pairOf(v, c); return [v.label, String(c), `${v.rope.component_lo[p]}, ${v.rope.component_hi[p]}`, v.rope.wavelength[p], v.q_share ? v.q_share[p] : null, v.k_share ? v.k_share[p] : null, v.v_share ? v.v_share[p] : null]; })),
  }));
}

/* Why a variant's map cannot be taken from the first's; '' when it can. */
const whyNoDifference = v => (v.layers !== first.layers ? `${v.layers} layers instead of ${first.layers}` : v.pairs !== first.pairs ? `heads of ${v.pairs} pairs instead of ${first.pairs}` : v.aligned ? '' : 'other components make a pair');

function mapsPicture(figure) {
  const shown = variants.filter(v => v.q_map || v.k_map), others = shown.filter(v => v !== first), differing = shown.includes(first) ? others.filter(v => !whyNoDifference(v)) : [];
  const choices = [['k_map', 'key'], ['q_map', 'query']].filter(([key]) => shown.some(v => v[key])), state = { key: choices[0][0], top: 1, far: 1 };
  const readout = make('output', { class: 'readout', 'aria-live': 'polite' }, HINT), before = figure.querySelector('figcaption');
  const of = (v, l, p) => (v[state.key] ? real(v[state.key][l * v.pairs + pairOf(v, p)]) * v.pairs : NaN), minus = (v, l, p) => of(v, l, p) - of(first, l, p);
  const most = (list, f) => d3.max(list, v => d3.max(d3.range(v.layers * v.pairs), i => f(v, Math.floor(i / v.pairs), i % v.pairs))) || 1;
  const measure = () => { state.top = most(shown, of); state.far = most(differing, (v, l, p) => Math.abs(minus(v, l, p))); };
  measure();
  const colour = x => ramp(Math.sqrt(Math.max(0, x) / state.top)), shade = x => diverging(x / state.far), signed = x => (x > 0 ? '+' : '') + num(x);
  const map = (v, title, value, paint, words) => smallMap({
    title, rows: v.layers, columns: v.pairs, value: (l, p) => value(v, l, p), colour: paint, rests: p => restsAt(v, p), readout,
    say: (l, p, x) => `${title}, layer ${l}, pair ${p} (${wave(v, p)}): ${words(x)}`,
  });
  const maps = shown.map(v => map(v, noted(v), of, colour, x => `${num(x)} times uniform`));
  const differences = differing.map(v => map(v, `${noted(v)} minus ${first.label}`, minus, shade, x => `${signed(x)} times uniform`));
  const scales = [rampLegend('times uniform', num, () => ({ colour, lo: 0, hi: state.top }))];
  if (differing.length) scales.push(rampLegend('times uniform, more or less', signed, () => ({ colour: shade, lo: -state.far, hi: state.far })));
  const redraw = () => { measure(); [...scales, ...maps, ...differences].forEach(m => m.draw()); };
  const left = others.filter(v => !differing.includes(v)).map(v => `${v.label} (${whyNoDifference(v) || 'the first has no map'})`);
  figure.insertBefore(make('fieldset', { class: 'switch' }, make('legend', null, 'Norm of'), ...choices.map(([key, name], i) => make('label', null, make('input', { type: 'radio', name: 'map', value: key, checked: i === 0, onchange() { state.key = key; redraw(); } }), name))), before);
  const rows = make('div', { class: 'map-rows' }, scales[0].box, make('div', { class: 'multiples' }, ...maps.map(m => m.panel)));
  if (differing.length) rows.append(make('h4', null, 'Difference from the first'), scales[1].box, make('div', { class: 'multiples' }, ...differences.map(m => m.panel)));
  if (left.length) rows.append(make('p', { class: 'panel-note left-out' }, `No difference from ${first.label} is drawn, because columns would mean something else, for ${left.join(', ')}.`));
  figure.insertBefore(rows, before);
  figure.insertBefore(readout, before);
  redraw();
  addTools(figure, () => ({
    columns: ['variant', 'layer', 'pair', 'query, share', 'key, share'],
    rows: shown.flatMap(v => d3.range(v.layers * v.pairs).map(i => [v.label, String(Math.floor(i / v.pairs)), String(i % v.pairs), v.q_map ? v.q_map[i] : null, v.k_map ? v.k_map[i] : null])),
  }));
}

const scores = [['previous', 'to the previous token'], ['first', 'to the first token'], ['diagonal', 'to the token itself'], ['induction', 'behind earlier copies (induction)']];

function scoreRow(v, key) {
  const marks = v.shown.flatMap((r, k) => r.heads[key].map(x => ({ x: real(x), open: k > 0 }))), known = marks.map(m => m.x).filter(Number.isFinite), mean = d3.mean(known);
  return { name: v.label, note: v.note, colour: v.colour, marks, mean, say: known.length ? `${noted(v)}: mean ${num(mean)}, median ${num(d3.median(known))}, largest ${num(d3.max(known))} of ${count(known.length)} heads` : `${noted(v)}: not measured` };
}

function scoresPicture(figure) {
  const panels = panelsIn(figure, 'two');
  for (const [key, words] of scores) {
    const panel = make('div', { class: 'panel' }), top = d3.max(variants, v => d3.max(v.shown, r => d3.max(r.heads[key]))) || 1;
    panels.append(panel);
    markRows(panel, {
      title: words, height: 40, r: 2.4, crowded: true, hint: '', label: `Attention of every head ${words}`, rows: variants.map(v => scoreRow(v, key)),
      x: { domain: d3.scaleLinear().domain([0, Math.max(0.1, top)]).nice(5).domain(), label: 'share of a head’s attention', format: String },
    });
  }
  addTools(figure, () => ({
    columns: ['variant', 'run', 'layer', 'head', ...scores.map(([key]) => key)],
    rows: variants.flatMap(v => v.shown.flatMap((r, k) => r.heads.layer.map((l, i) => [v.label, String(k + 1), String(l), String(r.heads.head[i]), ...scores.map(([key]) => r.heads[key][i])]))),
  }));
}

const pictures = { loss: lossPicture, position: positionPicture, difference: differencePicture, kinds: kindsPicture, norms: normsPicture, maps: mapsPicture, scores: scoresPicture };
document.querySelectorAll('figure[data-plot]').forEach(f => pictures[f.dataset.plot](f));
setTheme();
setKeys();
setPrint();
