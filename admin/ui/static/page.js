// Progressive enhancement: numbers and charts that live, lists that are fetched
// again. Everything works without it but the charts.
(function () {
  'use strict';
  const base = document.body.dataset.base;
  const queue = document.body.dataset.queue;
  const status = document.getElementById('live');

  // Texts of numbers, as the server writes them.
  function number(n) { return String(Math.round(n)).replace(/\B(?=(\d{3})+(?!\d))/g, ','); }
  function precise(n) { return String(Number(n.toPrecision(3))); }
  function duration(s) {
    if (s === null || s === undefined) return 'not at this rate';
    if (s <= 0) return '0 s';
    if (s < 1e-3) return precise(s * 1e6) + ' µs';
    if (s < 1) return precise(s * 1e3) + ' ms';
    if (s < 60) return precise(s) + ' s';
    const two = function (n) { return String(Math.floor(n)).padStart(2, '0'); };
    if (s < 3600) return Math.floor(s / 60) + ' min ' + two(s % 60) + ' s';
    if (s < 48 * 3600) return Math.floor(s / 3600) + ' h ' + two(s / 60 % 60) + ' min';
    return Math.floor(s / 86400) + ' days';
  }
  const show = {
    width: function (q) { return String(q.width); },
    next_wait: function (q) { return q.next_since ? duration((Date.parse(q.time) - Date.parse(q.next_since)) / 1000) : '–'; },
    throughput: function (q) { return precise(q.throughput); },
    empty_in: function (q) { return duration(q.empty_in_seconds); },
    waiting_p50: function (q) { return duration(q.waiting_seconds.p50); },
    waiting_p90: function (q) { return duration(q.waiting_seconds.p90); },
    waiting_p99: function (q) { return duration(q.waiting_seconds.p99); },
    running_p50: function (q) { return duration(q.running_seconds.p50); },
    running_p99: function (q) { return duration(q.running_seconds.p99); }
  };
  function setText(el, text) { if (el.textContent !== text) el.textContent = text; }
  function showState(el, q) {
    const word = q.stopped ? 'stopped' : q.paused ? 'paused' : 'running';
    let span = el.querySelector('.state');
    if (!span) { span = document.createElement('span'); el.appendChild(span); }
    span.className = 'state ' + (q.stopped ? 'canceled' : q.paused ? 'pending' : 'finished');
    setText(span, word);
  }
  function showQueue(q) {
    document.querySelectorAll('[data-live-queue]').forEach(function (area) {
      if (area.dataset.liveQueue !== q.name) return;
      area.querySelectorAll('[data-live]').forEach(function (el) {
        const name = el.dataset.live;
        if (name === 'state') showState(el, q);
        else if (show[name]) setText(el, show[name](q));
        else if (typeof q[name] === 'number') setText(el, number(q[name]));
      });
    });
  }

  // Lists: the same page is fetched again, and its parts replace those here,
  // unless someone uses them just now.
  let before = {};
  let fetching = false, last = 0;
  function busy(el) {
    const active = document.activeElement;
    if (el.contains(active) && active !== el && !active.matches('.scroll')) return true;
    const chosen = window.getSelection();
    if (chosen && !chosen.isCollapsed && el.contains(chosen.anchorNode)) return true;
    return !!el.querySelector('input[name=id]:checked, details[open]');
  }
  async function refresh() {
    const parts = Array.from(document.querySelectorAll('[data-refresh]')).filter(function (el) { return el.id && !busy(el); });
    if (!parts.length || fetching || document.hidden) return;
    fetching = true;
    last = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: 'text/html' }, redirect: 'error' });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
      parts.forEach(function (el) {
        const by = fresh.getElementById(el.id);
        if (!by || busy(el) || !el.isConnected) return;
        const text = by.outerHTML;
        if (before[el.id] === text) return;
        before[el.id] = text;
        const scrolled = Array.from(el.querySelectorAll('.scroll')).map(function (s) { return s.scrollLeft; });
        el.replaceChildren.apply(el, Array.from(document.importNode(by, true).childNodes));
        el.querySelectorAll('.scroll').forEach(function (s, i) { s.scrollLeft = scrolled[i] || 0; });
        if (by.dataset.state) el.dataset.state = by.dataset.state;
        selectAll();
      });
    } catch (e) {
      // The next try shows whether the server is back.
    } finally {
      fetching = false;
    }
  }

  function selectAll() {
    const all = document.getElementById('select-all');
    if (!all) return;
    all.hidden = false;
    all.onchange = function () {
      document.querySelectorAll('input[name=id]').forEach(function (box) { box.checked = all.checked; });
    };
  }
  selectAll();

  // Charts.
  const color = function (name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); };
  let charts = [], shown = null;
  function markPlugin() {
    return { hooks: { draw: function (u) {
      if (!shown) return;
      const ctx = u.ctx;
      ctx.save();
      ctx.strokeStyle = color('--warn');
      ctx.setLineDash([4, 4]);
      shown.marks.forEach(function (m) {
        if (m.time < u.scales.x.min || m.time > u.scales.x.max) return;
        const x = u.valToPos(m.time, 'x', true);
        ctx.beginPath();
        ctx.moveTo(x, u.bbox.top);
        ctx.lineTo(x, u.bbox.top + u.bbox.height);
        ctx.stroke();
      });
      ctx.restore();
    } } };
  }
  function makeChart(id, labels, names, text) {
    const at = document.getElementById(id);
    const axis = { stroke: color('--dim'), grid: { stroke: color('--line'), width: 1 }, ticks: { stroke: color('--line'), width: 1 } };
    const u = new uPlot({
      width: at.clientWidth, height: 200, plugins: [markPlugin()],
      cursor: { sync: { key: 'twill' } },
      scales: { x: { range: function (u, min, max) { return max - min < 60 ? [max - 60, max] : [min, max]; } }, y: { range: function (u, min, max) { return [0, max > 0 ? max * 1.1 : 1]; } } },
      axes: [axis, Object.assign({ size: 62, values: function (u, vals) { return vals.map(text); } }, axis)],
      series: [{}].concat(labels.map(function (label, i) {
        return { label: label, stroke: color(names[i]), width: 2, points: { show: false }, value: function (u, v) { return v === null || v === undefined ? '–' : text(v); } };
      }))
    }, [[]].concat(labels.map(function () { return []; })), at);
    return u;
  }
  function column(of, p) { return of.map(function (q) { return q[p]; }); }
  function draw(h) {
    shown = h;
    const box = document.getElementById('charts');
    if (h.time.length < 2) return;
    box.hidden = false;
    if (!charts.length) {
      const blue = '--info', green = '--good', red = '--bad', amber = '--warn';
      charts = [
        makeChart('chart-rate', ['put', 'ended', 'failed'], [blue, green, red], precise),
        makeChart('chart-jobs', ['pending', 'underway'], [amber, blue], number),
        makeChart('chart-wait', ['p50', 'p90', 'p99'], [green, amber, red], precise),
        makeChart('chart-run', ['p50', 'p90', 'p99'], [green, amber, red], precise)
      ];
    }
    const quantiles = function (of) { return [h.time, column(of, 'p50'), column(of, 'p90'), column(of, 'p99')]; };
    [[h.time, h.put, h.ended, h.failed], [h.time, h.pending, h.underway], quantiles(h.waiting_seconds), quantiles(h.running_seconds)]
      .forEach(function (data, i) { charts[i].setData(data); });
  }
  let drawn = 0;
  async function history() {
    if (!queue || !document.getElementById('charts') || typeof uPlot === 'undefined' || document.hidden || Date.now() - drawn < 5000) return;
    drawn = Date.now();
    try {
      const answer = await fetch(base + 'api/queues/' + encodeURIComponent(queue) + '/history');
      if (answer.ok) draw(await answer.json());
    } catch (e) {
      // as above
    }
  }
  window.addEventListener('resize', function () {
    charts.forEach(function (u) { u.setSize({ width: u.root.parentNode.clientWidth, height: 200 }); });
  });
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', function () {
    charts.forEach(function (u) { u.destroy(); });
    charts = [];
    drawn = 0;
    history();
  });

  // The stream. It is closed while the page is hidden.
  let source = null;
  function open() {
    if (source || document.hidden || !document.querySelector('[data-live-queue]')) return;
    source = new EventSource(base + 'api/events' + (queue ? '?queue=' + encodeURIComponent(queue) : ''));
    source.addEventListener('queues', function (e) {
      JSON.parse(e.data).queues.forEach(showQueue);
      document.body.dataset.live = 'yes';
      setText(status, 'Live');
    });
    source.onerror = function () { setText(status, 'Connection lost; trying again'); };
  }
  function close() { if (source) { source.close(); source = null; } }
  document.addEventListener('visibilitychange', function () { if (document.hidden) close(); else { open(); tick(); } });
  window.addEventListener('pagehide', close);
  window.addEventListener('pageshow', open);
  function tick() {
    if (document.hidden) return;
    const op = document.getElementById('operation');
    const every = op ? (op.dataset.state === 'running' ? 500 : 1e9) : 2000;
    if (Date.now() - last >= every) refresh();
    history();
  }
  open();
  last = Date.now();
  history();
  setInterval(tick, 500);
})();
