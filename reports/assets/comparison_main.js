/* The pictures of a comparison. */

const padded = (lo, hi) => { const d = (hi - lo || Math.abs(hi) || 1) * 0.08; return [lo - d, hi + d]; };

/* 95% half width of a mean over n runs: that of a difference is t s sqrt(1/n + 1/n0). */
function meanWidth(q, e, v) {
  const widths = q.values.map((o, i) => ({ w: real(o.half_width), n: variants[i].n_compared })).filter(o => Number.isFinite(o.w));
  if (widths.length === 0) return NaN;
  return (widths[0].w / Math.sqrt(1 / widths[0].n + 1 / first.n_compared)) * Math.sqrt(1 / v.n_compared);
}

function lossPicture(figure) {
  const q = quantityOf('loss'), rows = variants.filter(v => Number.isFinite(real(q.values[v.i].mean))).map(v => {
    const e = q.values[v.i], w = meanWidth(q, e, v);
    return { name: v.label, colour: v.colour, mean: e.mean, lo: e.mean - w, hi: e.mean + w, marks: e.runs.map((x, k) => ({ x: real(x), open: k > 0 })) };
  });
  const [lo, hi] = d3.extent(rows.flatMap(r => [...r.marks.map(m => m.x), r.lo, r.hi]).filter(Number.isFinite));
  rowPlot(figure, {
    rows, x: { domain: padded(lo, hi), label: 'loss in nats', format: d3.format('.2f') }, label: 'Loss of each run by variant', least: 210,
    numbers: () => ({ columns: ['variant', 'run', 'loss, nats'], rows: rows.flatMap(r => r.marks.map((m, k) => [r.name, k + 1, m.x])) }),
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

function differencePicture(figure) {
  const shown = variants.filter(v => run.loss_differences[v.i]);
  const buckets = run.loss_differences[shown[0].i];
  const series = shown.map(v => ({
    name: v.label, kind: 'line', colour: v.colour, dashed: v.dash,
    points: run.loss_differences[v.i].map(b => ({ x: bucketMiddle(b), y: real(b[2]), lo: real(b[2]) - real(b[3]), hi: real(b[2]) + real(b[3]) })),
  }));
  /* The first few positions hold few tokens: their bands would flatten all the others. */
  const far = series.flatMap(s => s.points.filter(p => p.x >= 8 || buckets.length < 6).flatMap(p => [p.lo, p.hi, p.y])).filter(Number.isFinite), last = buckets[buckets.length - 1][1];
  plot(figure, {
    x: { type: 'log', domain: [1, last], label: 'position in the sequence', ticks: positionTicks(last) },
    y: { type: 'linear', domain: d3.scaleLinear().domain(d3.extent([0, ...far])).nice(6).domain(), label: 'nats more than the first', clamp: true },
    series, rules: [{ y: 0, name: first.label }], height: 320, label: 'Loss difference by position',
    reading: { xs: buckets.map(bucketMiddle), hint: HINT, say: k => `${positions(buckets[k])}: ` + series.map(s => `${s.name} ${num(s.points[k].y)} ± ${num(s.points[k].hi - s.points[k].y)}`).join(', ') },
    numbers: () => ({ columns: ['from position', 'to position', ...series.flatMap(s => [s.name, '95% half width'])], rows: buckets.map((b, k) => [b[0], b[1], ...series.flatMap(s => [s.points[k].y, s.points[k].hi - s.points[k].y])]) }),
  });
}

function kindsPicture(figure) {
  const used = run.kinds.map((k, i) => ({ ...k, i })).filter(k => run.runs.some(r => r.kinds[k.i] > 0));
  const rows = variants.flatMap(v => v.shown.map((r, n) => {
    const heads = d3.sum(r.kinds), name = n === 0 ? v.label + (v.compared ? '' : ' (not compared)') : '';
    return { name, of: v.label, run: n + 1, kinds: r.kinds, parts: used.map(k => ({ share: heads ? r.kinds[k.i] / heads : 0, colour: `var(--kind-${k.key})`, words: `${v.label}, run ${n + 1}: ${r.kinds[k.i]} of ${heads} heads ${k.name}` })) };
  }));
  barPlot(figure, {
    rows, hint: 'Point at a bar.', label: 'Heads of each kind by run',
    legend: used.map(k => ({ name: k.name, kind: 'bar', colour: `var(--kind-${k.key})` })),
    numbers: () => ({ columns: ['variant', 'run', ...used.map(k => k.name)], rows: rows.map(r => [r.of, r.run, ...used.map(k => r.kinds[k.i])]) }),
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

function normPanel(v, top) {
  const figure = make('figure', { class: 'panel' }, make('h4', null, v.label + (v.compared ? '' : ' (not compared)')), make('figcaption', null, v.rope.rotated === 0 ? 'component pairs, no frequencies' : v.aligned ? 'fastest to slowest pair of the first' : 'rotated pairs from the fastest, then the rest'));
  const line = (x, name, colour, thin) => ({ name: thin ? null : name, kind: 'line', colour, thin, points: ordered(v, x).map((y, p) => ({ x: p, y: real(y) })) });
  const series = [['q_share', 'query', 'var(--q)'], ['k_share', 'key', 'var(--k)']].filter(([key]) => v[key]).flatMap(([key, name, colour]) => [
    ...v.shown.filter(r => v.shown.length > 1 && r[key]).map(r => line(r[key], name, colour, true)), line(v[key], name, colour, false)]);
  const main = series.filter(s => !s.thin);
  plot(figure, {
    x: { type: 'linear', domain: [-0.5, v.pairs - 0.5], label: 'pair', ticks: pairTicks(v.pairs), format: String },
    y: { type: 'linear', domain: [0, top], label: 'share of the norm' },
    series, rules: [{ y: 1 / v.pairs }], shaded: runsOfRests(v).map(([a, b]) => [a - 0.5, b - 0.5]), height: 220, label: `${v.label}: norm by pair`,
    reading: { xs: d3.range(v.pairs), hint: '', say: p => `pair ${p}, ${wave(v, p)}: ` + main.map(s => `${s.name} ${num(s.points[p].y)}`).join(', ') },
  });
  return figure;
}

function normsPicture(figure) {
  const shown = variants.filter(v => v.q_share || v.k_share);
  const top = 1.05 * d3.max(shown, v => d3.max([v, ...v.shown], o => d3.max([...(o.q_share || []), ...(o.k_share || [])])));
  const panels = make('div', { class: 'multiples' });
  figure.insertBefore(panels, figure.querySelector('figcaption'));
  panels.append(...shown.map(v => normPanel(v, top)));
  addTools(figure, () => ({
    columns: ['variant', 'pair', 'components', 'wavelength', 'query', 'key', 'value'],
    rows: shown.flatMap(v => d3.range(v.pairs).map(c => { const p = pairOf(v, c); return [v.label, String(c), `${v.rope.component_lo[p]}, ${v.rope.component_hi[p]}`, v.rope.wavelength[p], v.q_share ? v.q_share[p] : null, v.k_share ? v.k_share[p] : null, v.v_share ? v.v_share[p] : null]; })),
  }));
}

function drawMaps(panels, key, readout) {
  const shown = variants.filter(v => v[key]), of = (v, l, p) => real(v[key][l * v.pairs + pairOf(v, p)]) * v.pairs;
  const top = d3.max(shown, v => d3.max(v[key]) * v.pairs), colour = x => ramp(Math.sqrt(Math.max(0, x) / top));
  const far = d3.max(shown.filter(v => v.i > 0 && v.aligned && v.layers === first.layers), v => d3.max(d3.range(v.layers * v.pairs), i => Math.abs(of(v, Math.floor(i / v.pairs), i % v.pairs) - of(first, Math.floor(i / v.pairs), i % v.pairs)))) || 1;
  const say = v => (l, p, x) => `${v.label}, layer ${l}, pair ${p} (${wave(v, p)}): ${num(x)} times uniform`;
  const maps = shown.map(v => smallMap({ title: v.label, rows: v.layers, columns: v.pairs, value: (l, p) => of(v, l, p), colour, say: say(v), readout }));
  const differences = shown.filter(v => v.i > 0 && first[key]).map(v => {
    if (!v.aligned || v.layers !== first.layers) return make('div', { class: 'panel' }, make('h4', null, `${v.label} minus ${first.label}`), make('p', { class: 'panel-note' }, 'No difference is drawn: this variant pairs other components, or has another shape, so that its columns mean something else.'));
    return smallMap({ title: `${v.label} minus ${first.label}`, rows: v.layers, columns: v.pairs, value: (l, p) => of(v, l, p) - of(first, l, p), colour: x => diverging(x / far), say: (l, p, x) => `${v.label} minus ${first.label}, layer ${l}, pair ${p}: ${num(x)} times uniform`, readout });
  });
  panels.replaceChildren(
    rampLegend(colour, 0, top, 'times uniform', num), make('div', { class: 'multiples' }, ...maps),
    ...(differences.length ? [rampLegend(x => diverging(x / far), -far, far, 'more or less than the first', x => (x > 0 ? '+' : '') + num(x)), make('div', { class: 'multiples' }, ...differences)] : []));
}

function mapsPicture(figure) {
  const before = figure.querySelector('figcaption'), panels = make('div'), readout = make('output', { class: 'readout', 'aria-live': 'polite' }, 'Point at a cell.');
  const choices = [['k_map', 'key'], ['q_map', 'query']].filter(([key]) => variants.some(v => v[key]));
  const fieldset = make('fieldset', { class: 'switch' }, make('legend', null, 'Norm of'), ...choices.map(([key, name], i) => make('label', null, make('input', { type: 'radio', name: 'map', value: key, checked: i === 0, onchange: () => drawMaps(panels, key, readout) }), name)));
  figure.insertBefore(fieldset, before);
  figure.insertBefore(panels, before);
  figure.insertBefore(readout, before);
  drawMaps(panels, choices[0][0], readout);
  addTools(figure, () => ({
    columns: ['variant', 'layer', 'pair', 'query, share', 'key, share'],
    rows: variants.flatMap(v => d3.range(v.layers * v.pairs).map(i => [v.label, String(Math.floor(i / v.pairs)), String(i % v.pairs), v.q_map ? v.q_map[i] : null, v.k_map ? v.k_map[i] : null])),
  }));
}

const scores = [['previous', 'the previous token'], ['first', 'the first token'], ['diagonal', 'the token itself'], ['induction', 'behind earlier copies (induction)']];

function scoresPicture(figure) {
  const panels = make('div', { class: 'multiples two' });
  figure.insertBefore(panels, figure.querySelector('figcaption'));
  for (const [key, words] of scores) {
    const panel = make('figure', { class: 'panel' }, make('figcaption', null, ''));
    panels.append(panel);
    const top = d3.max(variants, v => d3.max(v.shown, r => d3.max(r.heads[key]))) || 1;
    rowPlot(panel, {
      title: `to ${words}`.replace('to behind', 'behind'), jitter: true, r: 2.6, label: `Attention of every head to ${words}`,
      rows: variants.map(v => { const marks = v.shown.flatMap((r, k) => r.heads[key].map(x => ({ x: real(x), open: k > 0 }))); return { name: v.label, colour: v.colour, marks, mean: d3.mean(marks, m => m.x) }; }),
      x: { domain: d3.scaleLinear().domain([0, Math.max(0.1, top)]).nice(5).domain(), label: 'share of a head’s attention', format: String },
    });
  }
  addTools(figure, () => ({
    columns: ['variant', 'run', 'layer', 'head', ...scores.map(([key]) => key)],
    rows: variants.flatMap(v => v.shown.flatMap((r, k) => r.heads.layer.map((l, i) => [v.label, k + 1, String(l), String(r.heads.head[i]), ...scores.map(([key]) => r.heads[key][i])]))),
  }));
}

const pictures = { loss: lossPicture, position: positionPicture, difference: differencePicture, kinds: kindsPicture, norms: normsPicture, maps: mapsPicture, scores: scoresPicture };
document.querySelectorAll('figure[data-plot]').forEach(f => pictures[f.dataset.plot](f));
setTheme();
setKeys();
setPrint();
