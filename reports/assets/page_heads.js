/* The table of heads and the view of one head. */

const headColumns = [
  { key: 'layer', name: 'layer', help: 'layer' },
  { key: 'head', name: 'head', help: 'query head' },
  { key: 'kv_head', name: 'key head', help: 'key head that the query head shares' },
  { key: 'kind', name: 'kind', help: 'first rule above that fits' },
  { key: 'previous', name: 'previous', help: 'mean attention to the previous token' },
  { key: 'first', name: 'first', help: 'mean attention to position 0' },
  { key: 'diagonal', name: 'diagonal', help: 'mean attention to the token itself' },
  { key: 'induction', name: 'induction', help: 'mean attention behind earlier occurrences of the token' },
  { key: 'entropy', name: 'entropy (nats)', help: 'mean entropy of a row' },
  { key: 'mean_distance', name: 'distance (tokens)', help: 'mean distance of the attention that is not on position 0' },
  { key: 'retrieval', name: 'retrieval', help: 'attention from question and answer to the context, without position 0' },
  { key: 'copy', name: 'copy', help: 'share of the answer’s tokens that its strongest key holds' },
  { key: 'fast_share', name: 'fast share', help: 'share of the q·k two-norm in the fastest quarter of the rotated pairs' },
  { key: 'positional', name: 'positional', help: 'share of its pairs that work by position' },
  { key: 'semantic', name: 'semantic', help: 'share of its pairs that work by content' },
  { key: 'idle', name: 'idle', help: 'share of its pairs that are idle' },
  { key: 'top_pair_q', name: 'top pair q', help: 'pair most often largest in the query' },
  { key: 'top_pair_k', name: 'top pair k', help: 'pair most often largest in the key' },
];

const heads = d3.range(run.heads.layer.length).map(i => {
  const h = {};
  for (const k of Object.keys(run.heads)) h[k] = run.heads[k][i];
  return h;
});
const headIndex = new Map(heads.map((h, i) => [`l${h.layer}h${h.head}`, i]));
const measuredColumns = headColumns.filter(c => heads.some(h => h[c.key] !== null && h[c.key] !== -1));
const kindOf = h => run.kinds.find(k => k.key === h.kind);
const kindName = h => (kindOf(h) ? kindOf(h).name : '');
/* Scores between 0 and 1 are read as two decimals, side by side. */
const scoreKeys = new Set(['previous', 'first', 'diagonal', 'induction', 'entropy', 'retrieval', 'copy', 'fast_share', 'positional', 'semantic', 'idle']);

function headCell(h, c) {
  const x = h[c.key];
  if (c.key === 'head') return make('td', null, make('a', { href: `#l${h.layer}h${h.head}` }, String(x)));
  if (c.key === 'kind') return make('td', { class: 't' }, make('span', { class: 'key kind-' + h.kind }), kindName(h));
  if (x === null || x === -1) return make('td', { class: 'zero' }, '–');
  if (scoreKeys.has(c.key)) return make('td', { class: x < 0.005 ? 'zero' : null }, x.toFixed(2));
  if (c.key === 'mean_distance') return make('td', null, num(x));
  return make('td', null, String(x));
}

function headsTable(holder) {
  const state = { by: 'layer', up: true, layer: '', kind: '', all: false };
  const body = make('tbody'), status = make('output', { 'aria-live': 'polite' });
  const more = make('button', { type: 'button', hidden: true, onclick: () => { state.all = true; fill(); } }, 'Show all');
  const most = 60;

  const order = (a, b) => {
    const x = state.by === 'kind' ? kindName(a) : a[state.by], y = state.by === 'kind' ? kindName(b) : b[state.by];
    const gone = (x === null) - (y === null);
    return gone || (state.up ? d3.ascending(x, y) : d3.descending(x, y)) || a.layer - b.layer || a.head - b.head;
  };
  const fits = h => (state.layer === '' || String(h.layer) === state.layer) && (state.kind === '' || h.kind === state.kind);
  const fill = () => {
    const rows = heads.filter(fits).sort(order), shown = state.all ? rows : rows.slice(0, most);
    body.replaceChildren(...shown.map(h => make('tr', null, ...measuredColumns.map(c => headCell(h, c)))));
    more.hidden = shown.length === rows.length;
    status.textContent = `${shown.length} of ${rows.length === heads.length ? rows.length : rows.length + ' that fit, ' + heads.length} heads`;
    for (const th of titles) th.setAttribute('aria-sort', th.dataset.key !== state.by ? 'none' : state.up ? 'ascending' : 'descending');
  };
  const sortBy = c => {
    state.up = state.by === c.key ? !state.up : ['layer', 'head', 'kv_head', 'kind', 'top_pair_q', 'top_pair_k'].includes(c.key);
    state.by = c.key;
    fill();
  };
  const titles = measuredColumns.map(c => make('th', { scope: 'col', 'data-key': c.key, title: c.help, class: c.key === 'kind' ? 't' : null },
    make('button', { type: 'button', onclick: () => sortBy(c) }, c.name)));
  const layer = make('input', { type: 'text', id: 'filter-layer', inputmode: 'numeric', placeholder: 'all', oninput: e => { state.layer = e.target.value.trim(); fill(); } });
  const kinds = run.kinds.filter(k => heads.some(h => h.kind === k.key));
  const kind = make('select', { id: 'filter-kind', onchange: e => { state.kind = e.target.value; fill(); } },
    make('option', { value: '' }, 'all'), ...kinds.map(k => make('option', { value: k.key }, k.name)));
  body.addEventListener('click', e => {
    const row = e.target.closest('tr');
    if (row && !e.target.closest('a') && !String(getSelection())) location.hash = row.querySelector('a').hash;
  });
  const filters = make('div', { class: 'filters' }, make('label', { for: 'filter-layer' }, 'Layer'), layer);
  if (kinds.length > 1) filters.append(make('label', { for: 'filter-kind' }, 'Kind'), kind);
  filters.append(status, more);
  const table = make('table', { id: 'heads-rows' }, make('caption', { class: 'skip' }, 'Heads'), make('thead', null, make('tr', null, ...titles)), body);
  holder.append(filters, make('div', { class: 'box', tabindex: '0', role: 'region', 'aria-label': 'Table of heads' }, table));
  const tools = make('div');
  addTools(tools, () => ({
    columns: measuredColumns.map(c => c.name),
    rows: heads.filter(fits).sort(order).map(h => measuredColumns.map(c => (c.key === 'kind' ? kindName(h) : ['layer', 'head', 'kv_head'].includes(c.key) ? String(h[c.key]) : h[c.key]))),
  }));
  tools.querySelector('.show-numbers').remove();
  holder.append(tools);
  fill();
}

/* --- one head --- */

const openHead = { stops: [], at: -1 };

function headFigure(title, how) {
  return make('figure', null, make('h3', null, title), make('figcaption', null, 'How to read: ' + how));
}

/* The mean pattern in blocks; rows are queries, columns keys. */
function patternFigure(h) {
  const a = array('heads/pattern');
  if (!a) return null;
  const n = a.dims[2], at = (r, c) => cellOfMap(a, h, r, c);
  let top = 0;
  for (let r = 0; r < n; r++) for (let c = 0; c <= r; c++) top = Math.max(top, at(r, c) || 0);
  if (!(top > 0)) return null;
  const f = headFigure('Where does it look?', `the mean pattern in ${n} × ${n} blocks: a row is a stretch of queries, the first on top, a column a stretch of keys; the colour is the attention a query of that stretch gives the block, on a square-root scale. Along a row the blocks sum to 1.`);
  const box = make('div', { class: 'plot' }), readout = make('output', { class: 'readout', 'aria-live': 'polite' }), caption = f.querySelector('figcaption');
  f.insertBefore(make('div', { class: 'legend' }, `colour: 0 to ${num(top)}`), caption);
  f.insertBefore(make('div', null, box, readout), caption);
  const step = run.context / n, hint = 'Point at a block.';
  const stop = onWidth(box, width => {
    const size = Math.max(3, Math.floor(Math.min(256, width - 60) / n)), side = size * n, left = 46, top0 = 6, dpr = window.devicePixelRatio || 1;
    const canvas = make('canvas', { width: Math.round(side * dpr), height: Math.round(side * dpr), role: 'img', 'aria-label': 'Mean attention pattern of the head' });
    canvas.style.cssText = `position:absolute;left:${left}px;top:${top0}px;width:${side}px;height:${side}px`;
    const c = canvas.getContext('2d'), edge = i => Math.round(i * size * dpr);
    for (let r = 0; r < n; r++) {
      for (let k = 0; k <= r; k++) {
        c.fillStyle = ramp(Math.sqrt((at(r, k) || 0) / top));
        c.fillRect(edge(k), edge(r), edge(k + 1) - edge(k), edge(r + 1) - edge(r));
      }
    }
    const svg = d3.create('svg').attr('width', left + side + 30).attr('height', side + 46);
    const g = svg.append('g').attr('class', 'axis').attr('transform', `translate(${left},${top0})`);
    const s = d3.scaleLinear().domain([0, run.context]).range([0, side]);
    const ticks = d3.range(0, 5).map(i => i * run.context / 4);
    g.append('g').call(d3.axisLeft(s).tickValues(ticks).tickFormat(short).tickSize(3)).call(x => x.select('path').remove());
    g.append('g').attr('transform', `translate(0,${side})`).call(d3.axisBottom(s).tickValues(ticks).tickFormat(short).tickSize(3)).call(x => x.select('path').remove());
    g.append('rect').attr('width', side).attr('height', side).attr('fill', 'none').attr('stroke', 'var(--line)');
    g.append('text').attr('class', 'title').attr('x', side / 2).attr('y', side + 32).attr('text-anchor', 'middle').text('key position');
    g.append('text').attr('class', 'title').attr('transform', `translate(-36,${side / 2}) rotate(-90)`).attr('text-anchor', 'middle').text('query position');
    box.replaceChildren(svg.node(), canvas);
    canvas.addEventListener('pointermove', e => {
      const b = canvas.getBoundingClientRect(), k = Math.floor((e.clientX - b.left) / size), r = Math.floor((e.clientY - b.top) / size);
      const span = i => `${count(Math.floor(i * step))}–${count(Math.ceil((i + 1) * step) - 1)}`;
      readout.textContent = k > r ? 'later than the query: masked' : `queries ${span(r)}, keys ${span(k)}: ${num(at(r, k))}`;
    });
    canvas.addEventListener('pointerleave', () => { readout.textContent = hint; });
    readout.textContent = hint;
  });
  openHead.stops.push(stop);
  addTools(f, () => ({
    columns: ['query block', ...d3.range(n).map(String)],
    rows: d3.range(n).map(r => [String(r), ...d3.range(n).map(c => (c > r ? null : at(r, c)))]),
  }));
  return f;
}

/* Blocks above the diagonal are not in the page: block (r, c <= r) stands at r (r + 1) / 2 + c. */
const cellOfMap = (a, h, r, c) => (c > r ? NaN : a.data[(h.layer * a.dims[1] + h.head) * (a.dims[2] * (a.dims[2] + 1) / 2) + r * (r + 1) / 2 + c]);

const spanWords = d => (d.first === d.last ? `distance ${count(d.first)}` : `distances ${count(d.first)}–${count(d.last)}`);
function bucketPoints(name, h) {
  const a = array(name), axis = array('axis/distance_bucket');
  if (!a || !axis) return [];
  return d3.range(axis.dims[0]).map(b => {
    const first = cell(axis, b, 0), last = cell(axis, b, 1);
    return { x: Math.sqrt((first + 1) * (last + 1)) - 1, y: cell(a, h.layer, h.head, b), first, last };
  }).filter(d => Number.isFinite(d.y));
}

/* Curves over distance. curves: [{key: array, name?, colour, dashed?}], those that the run has; o: {title, how(series), type, domain(points)}. */
function distanceFigure(h, curves, o) {
  const series = curves.map(s => ({ ...s, kind: 'line', points: bucketPoints(s.key, h) })).filter(s => s.points.length > 1);
  if (series.length === 0) return null;
  const all = series.flatMap(s => s.points), points = series[0].points, xMax = d3.max(all, d => d.x), yDomain = o.domain(all);
  const f = headFigure(o.title, o.how(series)), at = (s, d) => (s.points.find(e => e.first === d.first) || { y: NaN }).y;
  openHead.stops.push(plot(f, {
    x: { type: 'distance', constant: 1, domain: [0, xMax], label: 'distance in tokens', ticks: distanceTicks(xMax) },
    y: { type: o.type, domain: yDomain, label: o.label }, series, rules: yDomain[0] < 0 && yDomain[1] > 0 ? [{ y: 0 }] : [],
    reading: { xs: points.map(d => d.x), hint: 'Point at the curve.', say: i => `${spanWords(points[i])}: ` + series.map(s => (s.name ? s.name + ' ' : '') + num(at(s, points[i]))).join(', ') },
    numbers: () => ({ columns: ['from distance', 'to distance', ...series.map(s => s.name || o.label)], rows: points.map(d => [d.first, d.last, ...series.map(s => at(s, d))]) }),
    label: o.title, height: 280,
  }).stop);
  return f;
}

const reachFigure = h => distanceFigure(h, [{ key: 'heads/profile', colour: 'var(--kind-previous)' }], {
  title: 'How far does it look?', label: 'mean attention', type: 'log', domain: p => logDomain(p.map(d => d.y), 6),
  how: () => 'mean attention to a key this many tokens back, over the queries that have one there; both axes are logarithmic; what is smaller than the axis lies on its lower edge.',
});

/* The logit by distance: as it is, and what the means alone make of it. */
const logitFigure = h => distanceFigure(h, [
  { key: 'heads/mean_logit', name: 'as it is', colour: 'var(--q)' },
  { key: 'heads/distance_curve', name: 'of the mean query and the mean key', colour: 'var(--kind-diagonal)', dashed: 1 },
], {
  title: 'What does distance do to its logit?', label: 'mean logit', type: 'linear', domain: p => d3.scaleLinear().domain(d3.extent([0, ...p.map(d => d.y)])).nice(5).domain(),
  how: series => (series[0].key === 'heads/mean_logit' ? 'the mean logit of all queries and keys this many tokens apart, without position 0, and ' : '') + 'the logit that the mean query and the mean key would have: what position explains without content. Means over buckets of distance.' + (series.length === 2 ? ' Where the lines run together, position alone makes the curve.' : ''),
});

/* Parts of bands of pairs in the logit by distance: rows are bands, columns distances. */
function logitPartsFigure(h) {
  const a = array('heads/pair_logit'), axis = array('axis/distance_band');
  if (!a || !axis) return null;
  const pairs = layerOf(h.layer).pairs, bands = a.dims[2], n = a.dims[3], at = (b, d) => cell(a, h.layer, h.head, b, d);
  const columns = d3.range(n).filter(d => d3.range(bands).some(b => Number.isFinite(at(b, d))));
  const top = d3.max(d3.range(bands), b => d3.max(columns, d => Math.abs(at(b, d))));
  if (!(top > 0)) return null;
  /* Pair p of F stands in band floor(p bands / F). */
  const first = b => Math.ceil(b * run.n_pairs / bands), last = b => Math.min(pairs, Math.ceil((b + 1) * run.n_pairs / bands)) - 1;
  const bandWords = b => (first(b) === last(b) ? `pair ${first(b)}` : `pairs ${first(b)}–${last(b)}`);
  const span = d => ({ first: cell(axis, d, 0), last: cell(axis, d, 1) });
  const f = headFigure('Which pairs make that curve?', `what each ${bands < run.n_pairs ? 'band of neighbouring pairs' : 'pair'} adds to the mean logit at each distance, fastest on top; orange raises the logit, blue lowers it. A column adds up to the curve “as it is”. A pair that works by position changes colour from left to right; one whose row is all one colour is a constant.`);
  const rows = d3.range(bands).filter(b => first(b) < pairs);
  openHead.stops.push(smallMap(f, {
    label: 'Parts of the logit by pair and distance', colours: 'part of the mean logit', scale: d3.scaleLinear().domain([-top, top]).range([-1, 1]), ticks: [-top, 0, top],
    left: 62, rows: rows.map(b => (first(b) === last(b) ? String(first(b)) : `${first(b)}–${last(b)}`)), columns: columns.map(d => short(span(d).first)),
    room: 26, cell: { w: [6, 22], h: [9, 16] }, height: 220, x: 'distance in tokens, from', y: bands < run.n_pairs ? 'pairs' : 'pair',
    value: (b, d) => at(b, columns[d]),
    say: (b, d) => `${bandWords(b)}, ${wavelengthWords(h.layer, first(b))}, ${spanWords(span(columns[d]))}: ${num(at(b, columns[d]))}`,
  }));
  addTools(f, () => ({
    columns: ['pairs', 'wavelength of the first', ...columns.map(d => (span(d).first === span(d).last ? count(span(d).first) : `${count(span(d).first)}–${count(span(d).last)}`))],
    rows: rows.map(b => [bandWords(b), ropeOf(h.layer).wavelength[first(b)], ...columns.map(d => at(b, d))]),
  }));
  return f;
}

/* Directions of the mean query and the mean key of the pairs that weigh most, one circle a pair. */
function phaseFigure(h) {
  const share = array('heads/two_norm_share'), l = h.layer;
  const sides = [['query', 'var(--q)', array('heads/q_angle'), array('moments/q_concentration'), h.head], ['key', 'var(--k)', array('heads/k_angle'), array('moments/k_concentration'), h.kv_head]];
  if (!share || sides.some(s => !s[2] || !s[3])) return null;
  const most = d3.range(layerOf(l).pairs).filter(p => cell(share, l, h.head, p) > 0).sort((a, b) => d3.descending(cell(share, l, h.head, a), cell(share, l, h.head, b))).slice(0, 10).sort(d3.ascending);
  if (most.length === 0) return null;
  const turn = ([, , angle, , head], p) => 2 * Math.PI * (cell(angle, l, head, p) / 250 - 0.5), long = ([, , , r, head], p) => cell(r, l, head, p);
  /* Re(q conj(k) e^{i theta D}) is largest where theta D = arg k - arg q, up to whole turns. */
  const peak = p => {
    const w = ropeOf(l).wavelength[p], turns = (turn(sides[1], p) - turn(sides[0], p)) / (2 * Math.PI);
    return w ? (turns - Math.floor(turns)) * w : NaN;
  };
  const words = p => sides.map(s => `${s[0]} R ${num(long(s, p))}`).join(', ');
  const f = headFigure('Which way do its strongest pairs point?', 'a circle per pair, of the ten with the largest share of the q·k two-norm: arrows are the mean direction of its queries and keys before rotation, over all positions; an arrow to the rim (R = 1) points the same way everywhere, a short one (R near 0) every way. Where both arrows are long, the pair adds a wave to the logit by distance, highest where rotation has brought the query to the key: the distance below the circle, where the text analysed is long enough.');
  f.insertBefore(legendOf(sides.map(([name, colour]) => ({ name: name === 'key' ? `key head ${h.kv_head}` : name, kind: 'line', colour }))), f.querySelector('figcaption'));
  const circles = make('div', { class: 'circles' });
  for (const p of most) {
    const svg = d3.create('svg').attr('width', 84).attr('height', 84).attr('role', 'img').attr('aria-label', `pair ${p}, ${wavelengthWords(l, p)}: ${words(p)}`);
    const g = svg.append('g').attr('transform', 'translate(42,42)');
    g.append('circle').attr('class', 'rim').attr('r', 38);
    for (const s of sides) {
      const r = long(s, p), t = turn(s, p);
      if (!Number.isFinite(r) || !Number.isFinite(t)) continue;
      const x = 38 * r * Math.cos(t), y = -38 * r * Math.sin(t);
      const arm = g.append('g').attr('class', 'arrow').attr('data-side', s[0]).attr('data-turn', t.toFixed(4)).style('--c', s[1]);
      arm.append('line').attr('x2', x).attr('y2', y);
      arm.append('circle').attr('cx', x).attr('cy', y).attr('r', 3);
    }
    const at = peak(p), both = Math.min(...sides.map(s => long(s, p)));
    circles.append(make('div', { class: 'circle', 'data-pair': String(p) }, svg.node(), make('div', null, `pair ${p}`), make('div', { class: 'soft' }, ropeOf(l).wavelength[p] ? `wavelength ${short(ropeOf(l).wavelength[p])}` : 'not rotated'),
      make('div', { class: 'soft' }, both > 0.3 && at < run.context ? `highest at ${num(at < 10 ? Number(at.toFixed(1)) : Math.round(at))}` : '')));
  }
  f.insertBefore(circles, f.querySelector('figcaption'));
  addTools(f, () => ({
    columns: ['pair', 'wavelength', 'share', 'query turn', 'query R', 'key turn', 'key R', 'highest at distance'],
    rows: most.map(p => [String(p), ropeOf(l).wavelength[p], cell(share, l, h.head, p), ...sides.flatMap(s => [turn(s, p) / (2 * Math.PI), long(s, p)]), peak(p)]),
  }));
  return f;
}

const atPair = (points, p) => (points.find(d => d.x === p) || {}).y;
/* A hole where rotation ends: no line may join what is rotated to what is not. */
function withHole(points, rope) {
  const at = points.findIndex(d => d.x >= rope.rotated);
  if (rope.rotated === 0 || at < 1) return points;
  return [...points.slice(0, at), { x: rope.rotated - 0.5, y: NaN }, ...points.slice(at)];
}
const pairPoints = (a, l, h) => d3.range(layerOf(l).pairs).map(p => ({ x: p, y: cell(a, l, h, p) })).filter(d => !Number.isNaN(d.y));

function pairAxis(l) {
  const n = layerOf(l).pairs;
  return { type: 'linear', domain: [-0.6, n - 0.4], label: run.rotates ? 'pair, fastest to slowest' : 'component pair', ticks: pairTicks(n), format: String };
}

function normFigure(h) {
  const l = h.layer, qs = array('frequency_norm/q_share'), ks = array('frequency_norm/k_share');
  if (!qs && !ks) return null;
  const all = [['q', qs, h.head, 'var(--q)'], ['k', ks, h.kv_head, 'var(--k)']].filter(s => s[1]);
  const series = all.map(([name, a, head, colour], i) => ({ name: name === 'q' ? 'query' : `key head ${h.kv_head}`, kind: 'bar', colour, points: pairPoints(a, l, head), index: i, of: all.length }));
  const top = d3.max(series, s => d3.max(s.points, d => d.y)) || 1, f = headFigure('Which pairs carry its norm?', 'a pair of bars per pair of components: its share of the mean norm of this head’s queries and of its key head’s keys; line: all pairs alike.');
  openHead.stops.push(plot(f, {
    x: pairAxis(l), y: { type: 'linear', domain: [0, top * 1.05], label: 'share of the norm' }, top: topAxis(ropeOf(l)),
    series, rules: [{ y: 1 / layerOf(l).pairs, name: 'uniform' }],
    reading: {
      xs: d3.range(layerOf(l).pairs), hint: 'Point at a pair.',
      say: p => `pair ${p}, ${wavelengthWords(l, p)}: ` + series.map(s => `${s.name} ${num(atPair(s.points, p))}`).join(', '),
    },
    numbers: () => ({ columns: ['pair', 'wavelength', ...series.map(s => s.name)], rows: d3.range(layerOf(l).pairs).map(p => [String(p), ropeOf(l).wavelength[p], ...series.map(s => atPair(s.points, p))]) }),
    label: 'Norm share by pair', height: 280,
  }).stop);
  return f;
}

const costSeries = [
  { key: 'zero_cost', name: 'zeroing, closed form', colour: 'var(--zero)', kind: 'line' },
  { key: 'zero_cost_sampled', name: 'zeroing, sampled', colour: 'var(--zero)', kind: 'dots', open: true },
  { key: 'unrotate_cost', name: 'un-rotating, closed form', colour: 'var(--unrotate)', kind: 'line' },
  { key: 'unrotate_cost_sampled', name: 'un-rotating, sampled', colour: 'var(--unrotate)', kind: 'dots', open: true },
];

function costFigure(h) {
  const l = h.layer, series = costSeries.filter(s => array('moments/' + s.key) && (run.rotates || s.key.startsWith('zero')))
    .map(s => ({ ...s, points: withHole(pairPoints(array('moments/' + s.key), l, h.head), ropeOf(l)) })).filter(s => s.points.length);
  if (series.length === 0) return null;
  const f = headFigure('What would it cost to edit a pair?', 'change of this head’s logits when the pair is removed or no longer rotated, in units of the variance of its logits; lines: closed form, rings: sampled. Where they part, trust the rings. What is smaller than the axis lies on its lower edge.');
  openHead.stops.push(plot(f, {
    x: pairAxis(l), y: { type: 'log', domain: logDomain(series.flatMap(s => s.points.map(d => d.y)), 6), label: 'of the logit variance' }, top: topAxis(ropeOf(l)), series,
    reading: {
      xs: d3.range(layerOf(l).pairs), hint: 'Point at a pair.',
      say: p => `pair ${p}, ${wavelengthWords(l, p)}: ` + series.map(s => `${s.name} ${num(atPair(s.points, p))}`).join(', '),
    },
    numbers: () => ({ columns: ['pair', 'wavelength', ...series.map(s => s.name)], rows: d3.range(layerOf(l).pairs).map(p => [String(p), ropeOf(l).wavelength[p], ...series.map(s => atPair(s.points, p))]) }),
    label: 'Costs by pair', height: 280,
  }).stop);
  return f;
}

/* Never a 1.000 that is not one. */
const correlation = r => (r >= 0.9995 && r < 1 ? '> 0.999' : '= ' + r.toFixed(3));

function headFacts(h) {
  const group = heads.filter(o => o.layer === h.layer && o.kv_head === h.kv_head && o.head !== h.head).map(o => o.head);
  const facts = [
    h.kind && ['kind', kindName(h)],
    ['key head', String(h.kv_head) + (group.length ? `, shared with ${group.length === 1 ? 'head' : 'heads'} ${group.join(', ')}` : '')],
    ['rotation', thinWords(ropeOf(h.layer).words) + (layerOf(h.layer).window ? `; window ${count(layerOf(h.layer).window)} tokens` : '')],
    h.previous !== null && ['attention', `previous ${num(h.previous)}, first ${num(h.first)}, diagonal ${num(h.diagonal)}` + (h.induction !== null ? `, induction ${num(h.induction)}, duplicate ${num(h.duplicate)}` : '') + (h.split_half !== null ? `; even and odd sequences differ by at most ${num(h.split_half)}` : '')],
    h.entropy !== null && ['spread', `entropy ${num(h.entropy)} nats, as if over ${num(h.effective)} keys; mean distance ${num(h.mean_distance)} tokens; within 16 tokens ${num(h.local)} of what is not on the first token; Toeplitz share ${num(h.toeplitz)}`],
    h.top_pair_q >= 0 && ['largest pairs', `query: pair ${h.top_pair_q} (${wavelengthWords(h.layer, h.top_pair_q)})` + (h.top_pair_k >= 0 ? `; key: pair ${h.top_pair_k} (${wavelengthWords(h.layer, h.top_pair_k)})` : '')],
    h.align_diagonal !== null && ['alignment', `the logit of its own key is ${num(h.align_diagonal)} of the most that norms allow, that of the key before ${num(h.align_previous)}`],
    h.positional !== null && ['pairs', `${percent(h.positional)} positional, ${percent(h.semantic)} semantic, ${percent(h.bias)} bias, ${percent(h.idle)} idle`],
    h.logit_variance !== null && ['logit variance', num(h.logit_variance)],
    (h.fit_zero !== null || h.norm_split_half !== null) && ['reliability', [h.norm_split_half !== null && `norm profile of even against odd sequences r ${correlation(h.norm_split_half)}`, h.fit_zero !== null && `closed against sampled zeroing cost r ${correlation(h.fit_zero)}`, h.fit_unrotate !== null && run.rotates && `un-rotating r ${correlation(h.fit_unrotate)}`].filter(Boolean).join('; ')],
  ].filter(Boolean);
  return make('table', { class: 'facts-table' }, make('tbody', null, ...facts.map(([k, v]) => make('tr', null, make('th', { scope: 'row' }, k), make('td', null, v)))));
}

function showHead(i) {
  const panel = document.getElementById('head'), h = heads[i];
  closeHead(false);
  openHead.at = i;
  const step = (j, words) => (j < 0 || j >= heads.length ? '' : make('a', { href: `#l${heads[j].layer}h${heads[j].head}` }, words));
  panel.hidden = false;
  const title = make('h2', { id: 'head-t' }, `Layer ${h.layer}, head ${h.head}`);
  panel.replaceChildren(make('div', { class: 'bar-top' }, title, make('span', null, step(i - 1, '← previous'), ' ', step(i + 1, 'next →'), ' ',
    make('button', { type: 'button', id: 'head-close', onclick: () => closeHead(true) }, 'Close (Esc)'))), headFacts(h));
  panel.setAttribute('aria-labelledby', 'head-t');
  const pictures = make('div', { class: 'pictures' });
  panel.append(pictures);
  pictures.append(...[
    purposeFigure(h),
    patternFigure(h),
    reachFigure(h),
    normFigure(h),
    costFigure(h),
    logitFigure(h),
    logitPartsFigure(h),
    phaseFigure(h),
  ].filter(Boolean));
  panel.focus({ preventScroll: true });
  panel.scrollIntoView({ block: 'start' });
}

function closeHead(byUser) {
  const panel = document.getElementById('head');
  if (panel.hidden) return false;
  const h = heads[openHead.at];
  openHead.stops.splice(0).forEach(stop => stop());
  panel.hidden = true;
  panel.replaceChildren();
  openHead.at = -1;
  if (byUser) {
    history.replaceState(null, '', location.pathname + location.search);
    const link = h && document.querySelector(`#heads-rows a[href="#l${h.layer}h${h.head}"]`);
    (link || document.querySelector('#heads-table .box')).focus();
  }
  return true;
}

function followAddress() {
  const key = /^#l(\d+)h(\d+)$/.exec(location.hash), i = key ? headIndex.get(`l${+key[1]}h${+key[2]}`) : undefined;
  if (i !== undefined) showHead(i);
  else if (location.hash) closeHead(false);
}
