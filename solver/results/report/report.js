// The report's behaviour: the gallery of tasks, one task in detail, and the timeline. It is longer than other files
// because the page has to be one file, without a step that would join several. Everything is drawn from
// the JSON in #data; strings from it only ever become text, never markup.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = new Map(data.tasks.map((task) => [task.id, task]));
  const find = (id) => document.getElementById(id);
  const LIGHT_TEXT = new Set([0, 1, 9]); // colours on which a symbol is white
  const FINE = 5; // cells below this many pixels have no lines between them

  const state = { filter: "all", query: "", sort: "file", shown: data.tasks, symbols: recall("symbols") === "on" };

  // ---- Small helpers -------------------------------------------------------------------------------------

  function recall(key) {
    try { return localStorage.getItem("tinyarc-" + key); } catch { return null; }
  }

  function remember(key, value) {
    try { localStorage.setItem("tinyarc-" + key, value); } catch { /* a page that may not store still works */ }
  }

  /** An element; children are nodes or strings, and undefined or null ones are left out. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") element.className = value;
      else if (name === "style") element.style.cssText = value;
      else if (value !== undefined && value !== null) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== undefined && child !== null));
    return element;
  }

  function duration(seconds) {
    if (seconds < 99.5) return (seconds < 9.95 ? seconds.toFixed(1) : seconds.toFixed(0)) + " s";
    const whole = Math.round(seconds);
    const two = (number) => String(Math.floor(number)).padStart(2, "0");
    if (whole < 3600) return Math.floor(whole / 60) + "m" + two(whole % 60) + "s";
    return Math.floor(whole / 3600) + "h" + two((whole % 3600) / 60) + "m";
  }

  const percent = (share) => (100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0) + "%";
  const plural = (count, word) => count + " " + word + (count === 1 ? "" : "s");
  const link = (id) => "#task=" + encodeURIComponent(id);
  const rowsOf = (text) => text.split("|");
  const sizeOf = (rows) => rows.length + "×" + rows[0].length;

  // ---- Grids ---------------------------------------------------------------------------------------------

  /** A canvas of width × height cells, each `cell` CSS pixels; paint(context, x, y, box) fills one. */
  function canvas(width, height, cell, label, paint) {
    const ratio = window.devicePixelRatio || 1;
    const line = cell >= FINE ? Math.max(1, Math.round(ratio * 0.7)) : 0;
    const edge = (i) => Math.round(i * cell * ratio);
    const element = make("canvas", { role: "img", "aria-label": label });
    element.width = edge(width) + line;
    element.height = edge(height) + line;
    element.style.width = element.width / ratio + "px";
    element.style.height = element.height / ratio + "px";
    const context = element.getContext("2d");
    if (line) {
      context.fillStyle = "#777";
      context.fillRect(0, 0, element.width, element.height);
    }
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const left = edge(x) + line, top = edge(y) + line;
        paint(context, x, y, { left, top, width: edge(x + 1) - left, height: edge(y + 1) - top });
      }
    }
    return element;
  }

  function fill(context, box, colour) {
    context.fillStyle = colour;
    context.fillRect(box.left, box.top, box.width, box.height);
  }

  function symbol(context, box, text, light) {
    if (box.height < 9 * (window.devicePixelRatio || 1)) return;
    context.fillStyle = light ? "#fffd" : "#000c";
    context.font = `600 ${Math.round(box.height * 0.62)}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(text, box.left + box.width / 2, box.top + box.height / 2 + box.height * 0.04);
  }

  function colorCell(context, box, colour) {
    fill(context, box, data.palette[colour]);
    if (state.symbols && colour) symbol(context, box, String(colour), LIGHT_TEXT.has(colour));
  }

  /** Nothing there: hatched, so that it is not taken for a colour. */
  function voidCell(context, box, paper, line) {
    fill(context, box, paper);
    context.strokeStyle = line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(box.left, box.top + box.height);
    context.lineTo(box.left + box.width, box.top);
    context.stroke();
  }

  const tone = (name) => {
    // Custom properties hold light-dark(); a resolved colour comes from a property that uses it.
    const probe = find("probe") || document.body.appendChild(make("i", { id: "probe", hidden: "" }));
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };

  function gridCanvas(text, cell, label) {
    const rows = rowsOf(text);
    return canvas(rows[0].length, rows.length, cell, `${label}, ${rows.length} by ${rows[0].length}`, (context, x, y, box) =>
      colorCell(context, box, Number(rows[y][x])));
  }

  /** Shares from "0" (none) to "a" (all), as the strength of one colour. */
  function shareCanvas(text, cell, label) {
    const rows = rowsOf(text), paper = tone("--raised"), accent = tone("--accent"), dark = isDark();
    return canvas(rows[0].length, rows.length, cell, label, (context, x, y, box) => {
      const share = parseInt(rows[y][x], 16) / 10;
      fill(context, box, paper);
      context.globalAlpha = share;
      fill(context, box, accent);
      context.globalAlpha = 1;
      if (state.symbols) symbol(context, box, rows[y][x] === "a" ? "•" : rows[y][x], dark ? share < 0.6 : share > 0.5);
    });
  }

  /** Right cells faint; a wrong one shows the answer's colour above the diagonal, the truth's below it. */
  function differenceCanvas(answer, truth, cell, label) {
    const ours = rowsOf(answer), theirs = rowsOf(truth), paper = tone("--paper"), mark = tone("--missed");
    return canvas(ours[0].length, ours.length, cell, label, (context, x, y, box) => {
      const own = Number(ours[y][x]), right = Number(theirs[y][x]);
      if (own === right) {
        fill(context, box, paper);
        context.globalAlpha = 0.22;
        fill(context, box, data.palette[own]);
        context.globalAlpha = 1;
        return;
      }
      fill(context, box, data.palette[own]);
      context.fillStyle = data.palette[right];
      context.beginPath();
      context.moveTo(box.left + box.width, box.top);
      context.lineTo(box.left + box.width, box.top + box.height);
      context.lineTo(box.left, box.top + box.height);
      context.fill();
      context.strokeStyle = mark;
      context.lineWidth = Math.max(1.5, box.height * 0.1);
      const inset = context.lineWidth / 2;
      context.strokeRect(box.left + inset, box.top + inset, box.width - 2 * inset, box.height - 2 * inset);
    });
  }

  /** One loop step: colours, "#" for the border and "." for nothing, on width × height cells. */
  function stepCanvas(rows, width, height, cell, label) {
    const border = tone("--soft"), hatch = tone("--hatch"), paper = tone("--paper");
    return canvas(width, height, cell, label, (context, x, y, box) => {
      const char = (rows[y] || "")[x] || ".";
      if (char === ".") voidCell(context, box, paper, hatch);
      else if (char === "#") fill(context, box, border);
      else colorCell(context, box, Number(char));
    });
  }

  /** A titled drawing with notes below it, so that drawings in a row begin at one height. */
  function figure(title, notes, drawing, kind) {
    const lines = [notes].flat().filter(Boolean).map((note) => make("small", {}, note));
    return make("figure", { class: kind || "" }, make("figcaption", {}, title), drawing, ...lines);
  }

  /** A cell size at which a grid of this size stays within `room` pixels each way. */
  function cellSize(width, height, room, most = 24) {
    const least = state.symbols ? 11 : 3;
    return Math.max(least, Math.min(most, Math.floor((room - 2) / Math.max(width, height))));
  }

  // ---- Gallery -------------------------------------------------------------------------------------------

  const tiles = new Map();
  const drawn = new WeakSet();
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) drawTile(entry.target);
  }, { rootMargin: "300px" });

  function tile(task) {
    const label = `${task.id}, ${data.statuses[task.status]}, confidence ${percent(task.confidence)}`;
    const element = make("a", { class: "tile " + task.status, href: link(task.id), "aria-label": label, title: label },
      make("span", { class: "thumbs", "aria-hidden": "true" }, make("span"), "→", make("span")),
      make("span", { class: "name" }, make("i", { class: "mark " + task.status }), make("span", {}, task.id)),
      make("span", { class: "meter" }, make("i", { style: `width:${percent(task.confidence)}` })));
    element.task = task;
    observer.observe(element);
    return element;
  }

  function drawTile(element) {
    if (drawn.has(element)) return;
    drawn.add(element);
    observer.unobserve(element);
    const [before, after] = element.querySelectorAll(".thumbs > span");
    const test = element.task.tests[0];
    for (const [place, text] of [[before, test.input], [after, test.attempts[0]]]) {
      const rows = rowsOf(text), side = Math.max(rows.length, rows[0].length);
      place.replaceChildren(canvas(rows[0].length, rows.length, Math.min(14, 62 / side), "", (context, x, y, box) =>
        fill(context, box, data.palette[Number(rows[y][x])])));
    }
  }

  const ORDERS = {
    file: null,
    sure: (a, b) => b.confidence - a.confidence,
    unsure: (a, b) => a.confidence - b.confidence,
    slow: (a, b) => (b.seconds ?? -1) - (a.seconds ?? -1),
    fast: (a, b) => (a.seconds ?? Infinity) - (b.seconds ?? Infinity) || 0,
    small: (a, b) => (a.canvas ?? Infinity) - (b.canvas ?? Infinity) || 0,
    large: (a, b) => (b.canvas ?? -1) - (a.canvas ?? -1),
  };

  function refresh() {
    const query = state.query.trim().toLowerCase();
    const wanted = data.tasks.filter((task) =>
      (state.filter === "all" || task.status === state.filter) && task.id.toLowerCase().includes(query));
    const order = ORDERS[state.sort];
    state.shown = order ? wanted.sort(order) : wanted;
    find("gallery").replaceChildren(...state.shown.map((task) => tiles.get(task.id)));
    find("shown").textContent = state.shown.length === data.tasks.length
      ? plural(data.tasks.length, "task") : `${state.shown.length} of ${plural(data.tasks.length, "task")}`;
    find("empty").hidden = state.shown.length > 0;
    for (const button of document.querySelectorAll("[data-filter]")) {
      button.setAttribute("aria-pressed", String(button.dataset.filter === state.filter));
    }
  }

  // ---- One task ------------------------------------------------------------------------------------------

  const dialog = find("detail");
  let current = null;

  function supportsPart(task, room) {
    if (!task.supports.length) return null;
    const pairs = task.supports.map(([input, output], index) => {
      const both = [rowsOf(input), rowsOf(output)];
      const side = Math.max(...both.flatMap((rows) => [rows.length, rows[0].length]));
      const cell = cellSize(side, side, room, 18);
      return make("div", { class: "pair" },
        figure(`${index + 1}`, sizeOf(both[0]), gridCanvas(input, cell, `Support ${index + 1}, input`)),
        make("span", { class: "arrow", "aria-hidden": "true" }, "→"),
        figure("\u00a0", sizeOf(both[1]), gridCanvas(output, cell, `Support ${index + 1}, output`)));
    });
    return make("section", { class: "part" }, make("h3", {}, "Demonstrations"), make("div", { class: "flow" }, ...pairs));
  }

  function wrongCells(answer, truth) {
    const ours = rowsOf(answer), theirs = rowsOf(truth);
    if (ours.length !== theirs.length || ours[0].length !== theirs[0].length) return null;
    let wrong = 0;
    ours.forEach((row, y) => [...row].forEach((char, x) => { wrong += char !== theirs[y][x]; }));
    return wrong;
  }

  function attemptFigure(test, index, cell) {
    const answer = test.attempts[index], rows = rowsOf(answer), notes = [sizeOf(rows)];
    if (test.fallback[index]) notes.push("fallback, no votes");
    else notes.push(`${test.votes[index]} of ${plural(test.views, "view")}`, `confidence ${percent(test.confidence[index])}`);
    if (test.said[index].length) notes.push(`said by ${test.said[index].join(", ")}`);
    let verdict = null;
    if (test.truth !== null) {
      const wrong = wrongCells(answer, test.truth);
      const [kind, text] = wrong === 0 ? ["hit", " ✓ right"] : ["missed", wrong === null ? " ✗ wrong size" : ` ✗ ${plural(wrong, "cell")} off`];
      verdict = make("span", { class: "verdict " + kind }, text);
    }
    const element = figure(`Attempt ${index + 1}`, notes, gridCanvas(answer, cell, `Attempt ${index + 1}`));
    if (verdict) element.firstChild.append(verdict);
    return element;
  }

  function votesBar(test) {
    if (!test.views) return null;
    const others = test.decoded - test.votes[0] - test.votes[1], lost = test.views - test.decoded;
    const rest = test.candidates - test.fallback.filter((missing) => !missing).length;
    const parts = [["attempt 1", test.votes[0], 1], ["attempt 2", test.votes[1], 0.62], [plural(rest, "other candidate"), others, 0.3]];
    if (!rest) parts.pop();
    const bar = make("div", { class: "votes", role: "img", "aria-label": `Votes: ${parts.map(([n, v]) => `${n} ${v}`).join(", ")}, no grid ${lost}` },
      ...parts.map(([, votes]) => make("i", { style: `flex:${votes} 0 0` })), make("b", { style: `flex:${lost} 0 0` }));
    const legend = make("div", { class: "facts-line" },
      ...parts.map(([name, votes, strength]) => make("span", { class: "key", style: `--strength:${strength}` }, `${name}: ${votes}`)),
      make("span", { class: "key void" }, `no grid: ${lost}`));
    return make("div", {}, bar, legend);
  }

  function loopStrip(test, room) {
    if (!test.loop.length) return [];
    const steps = [];
    for (const step of test.loop) steps.push(step === 0 ? steps[steps.length - 1] : rowsOf(step));
    const width = Math.max(1, ...steps.flat().map((row) => row.length));
    const height = Math.max(...steps.map((rows) => rows.length));
    const cell = cellSize(width, height, room, 16);
    let settled = steps.length - 1;
    while (settled > 0 && test.loop[settled] === 0) settled--;
    const target = test.truth === null ? null : framed(test.truth);
    const figures = steps.map((rows, index) => {
      const changed = index ? changes(steps[index - 1], rows, width, height) : null;
      const right = target !== null && rows.join("|") === target;
      const note = index === 0 ? "first answer" : changed ? `${plural(changed, "cell")} changed` : "unchanged";
      return figure(`Step ${index + 1}${right ? " ✓" : ""}`, note,
        stepCanvas(rows, width, height, cell, `Answer after ${data.stepName} ${index + 1}, ${note}`), index === settled && settled < steps.length - 1 ? "settled" : "");
    });
    const text = settled === steps.length - 1 && steps.length > 1
      ? `It was still changing at the last of ${steps.length} steps.`
      : `It settles at step ${settled + 1} of ${steps.length}.`;
    return [make("h4", {}, "Loop strip"),
      make("p", { class: "note" }, `The network’s answer after each ${data.stepName}, for the untransformed view. ${text} Grey cells are the border that ends the grid; hatched cells are outside of it.`),
      make("div", { class: "strip", tabindex: "0", "aria-label": "Loop strip" }, ...figures)];
  }

  /** A grid as a loop step shows it when it is right: with its border, right and below. */
  function framed(text) {
    const rows = rowsOf(text).map((row) => row + "#");
    return [...rows, "#".repeat(rows[0].length)].join("|");
  }

  function changes(before, after, width, height) {
    let count = 0;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        count += ((before[y] || "")[x] || ".") !== ((after[y] || "")[x] || ".");
      }
    }
    return count;
  }

  function testPart(task, index, room) {
    const test = task.tests[index], title = task.tests.length > 1 ? `Test ${index + 1}` : "Test";
    const grids = [test.input, ...test.attempts, ...(test.truth === null ? [] : [test.truth])].map(rowsOf);
    const side = Math.max(...grids.flatMap((rows) => [rows.length, rows[0].length]));
    const cell = cellSize(side, side, room, 22);
    const part = make("section", { class: "part" }, make("h3", {}, title));
    const row = make("div", { class: "flow" },
      figure("Input", sizeOf(grids[0]), gridCanvas(test.input, cell, "Test input")),
      attemptFigure(test, 0, cell), attemptFigure(test, 1, cell));
    if (test.truth !== null) {
      const rank = test.hit ? null : test.rank ? `candidate no. ${test.rank}, not chosen` : "no view found it";
      row.append(figure("Truth", [sizeOf(rowsOf(test.truth)), test.views ? rank : null], gridCanvas(test.truth, cell, "Truth")));
    }
    if (test.agreement !== null) {
      row.append(figure("Agreement", "stronger: more views agree", shareCanvas(test.agreement, cell, "Agreement with attempt 1, cell by cell")));
    }
    if (test.truth !== null && test.hit !== 1) {
      const wrong = wrongCells(test.attempts[0], test.truth);
      if (wrong) row.append(figure("Difference", "attempt 1 above, truth below", differenceCanvas(test.attempts[0], test.truth, cell, "Cells in which attempt 1 differs from the truth")));
    }
    part.append(row);
    const votes = votesBar(test);
    if (votes) part.append(votes);
    part.append(...loopStrip(test, Math.min(room, 190)));
    return part;
  }

  function render(task) {
    const body = find("detail-body"), facts = [];
    find("detail-title").textContent = task.id;
    facts.push(make("span", { class: "status " + task.status }, make("i", { class: "mark " + task.status, "aria-hidden": "true" }), data.statuses[task.status]));
    if (task.canvas) facts.push(`canvas ${task.canvas}`);
    if (task.supports.length) facts.push({ same: "size as the input", constant: "constant size", ratio: "size in a fixed ratio", other: "no rule for the size" }[task.rule]);
    if (task.copies) facts.push(`${plural(task.steps, "fine-tuning step")}${task.copies > 1 ? ` in ${[`${task.copies} copies`, ...task.kinds].join(", ")}` : ""}`);
    if (task.loss !== null) facts.push(`loss ${task.loss.toPrecision(2)}`);
    if (task.settled) facts.push("supports solved early");
    if (task.seconds !== null) facts.push(duration(task.seconds));
    const room = dialog.clientWidth < 640 ? Math.floor((dialog.clientWidth - 64) / 2) : 250;
    body.replaceChildren(
      make("div", { class: "facts-line" }, ...facts.map((fact) => (typeof fact === "string" ? make("span", {}, fact) : fact))),
      ...task.errors.map((error) => make("p", { class: "fault" }, error)),
      ...[supportsPart(task, Math.min(room, 170)), ...task.tests.map((_, index) => testPart(task, index, room))].filter(Boolean));
    const place = state.shown.indexOf(task);
    find("place").textContent = place < 0 ? "" : `${place + 1} / ${state.shown.length}`;
    find("previous").disabled = place <= 0;
    find("next").disabled = place < 0 || place === state.shown.length - 1;
  }

  /** What the address says is what is shown. */
  function follow() {
    const match = /^#task=(.*)$/.exec(location.hash);
    let id = null;
    if (match) {
      try { id = decodeURIComponent(match[1]); } catch { id = match[1]; }
    }
    const task = id === null ? undefined : byId.get(id);
    if (!task) {
      if (dialog.open) dialog.close();
      return;
    }
    if (task === current && dialog.open) return;
    current = task;
    if (!dialog.open) dialog.showModal();
    render(task);
    dialog.scrollTop = 0;
  }

  function go(id) {
    history.replaceState(null, "", id === null ? location.pathname + location.search : link(id));
    follow();
  }

  function step(by) {
    const place = state.shown.indexOf(current) + by;
    if (state.shown.includes(current) && place >= 0 && place < state.shown.length) go(state.shown[place].id);
  }

  dialog.addEventListener("close", () => {
    if (/^#task=/.test(location.hash)) go(null);
    const element = current && tiles.get(current.id);
    if (element && element.isConnected) element.focus();
    current = null;
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // ---- Timeline ------------------------------------------------------------------------------------------

  function timeline() {
    if (!data.jobs.length) return;
    const workers = new Map();
    for (const job of data.jobs) {
      const name = job.worker === null ? "–" : String(job.worker);
      if (!workers.has(name)) workers.set(name, []);
      workers.get(name).push(job);
    }
    const last = data.jobs.reduce((most, job) => Math.max(most, job.end), 0) || 1;
    const near = data.budget && data.budget < 1.6 * last;
    const span = near ? Math.max(last, data.budget) : last;
    const lanes = find("lanes");
    for (const name of [...workers.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }))) {
      const lane = make("div", { class: "worker" + (workers.size > 10 ? " thin" : "") }, make("span", { title: "worker " + name }, name));
      for (const job of workers.get(name)) {
        const task = byId.get(job.task);
        if (!task) continue;
        const title = `${task.id}: ${data.statuses[task.status]}, ${duration(job.end - job.start)} from ${duration(job.start)}`;
        lane.append(make("a", { class: task.status, href: link(task.id), tabindex: "-1", title, "aria-hidden": "true",
          style: `left:${(100 * job.start) / span}%;width:${(100 * (job.end - job.start)) / span}%` }));
      }
      lanes.append(lane);
    }
    const marks = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400];
    const gap = marks.find((mark) => span / mark <= 6) || 28800;
    for (let at = 0; at <= span * 0.97; at += gap) {
      lanes.append(make("span", { class: "tick", style: `left:${(100 * at) / span}%` }, at ? duration(at).replace(".0", "") : "0"));
    }
    if (near) lanes.append(make("div", { class: "limit", style: `left:${(100 * data.budget) / span}%` }, make("span", {}, "budget")));
    for (const at of data.resumed) {
      lanes.append(make("div", { class: "limit", style: `left:${(100 * at) / span}%` }, make("span", {}, "resumed")));
    }
    const used = data.resumed.length ? ` in ${data.resumed.length + 1} starts` : data.budget ? ` of a budget of ${duration(data.budget)}` : "";
    const height = data.tasks.some((task) => task.tests[0].truth !== null) ? ", the higher the closer to the truth" : "";
    find("timeline-note").textContent = `${plural(workers.size, "worker")}, ${duration(last)}${used}. Each bar is a task${height}; tasks that were fine-tuned together share their time.`;
    find("timeline").hidden = false;
  }

  // ---- Controls ------------------------------------------------------------------------------------------

  const THEMES = ["auto", "light", "dark"];
  let theme = THEMES.includes(recall("theme")) ? recall("theme") : "auto";

  function isDark() {
    return theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  }

  function applyTheme() {
    document.documentElement.dataset.theme = theme;
    find("theme").textContent = "Theme: " + theme;
    if (current) render(current);
  }

  function nextTheme() {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    remember("theme", theme);
    applyTheme();
  }

  function applySymbols() {
    find("symbols").setAttribute("aria-pressed", String(state.symbols));
    if (current) render(current);
  }

  function toggleSymbols() {
    state.symbols = !state.symbols;
    remember("symbols", state.symbols ? "on" : "off");
    applySymbols();
  }

  /** Moves the focus in the gallery; with arrows up and down by a whole row. */
  function moveFocus(by, rows) {
    const all = state.shown.map((task) => tiles.get(task.id));
    if (!all.length) return;
    const at = all.indexOf(document.activeElement);
    let columns = 1;
    if (rows) while (columns < all.length && all[columns].offsetTop === all[0].offsetTop) columns++;
    const to = at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + by * columns));
    all[to].focus();
    all[to].scrollIntoView({ block: "nearest" });
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      else if (event.key === "Enter" && event.target.id === "search" && state.shown.length) go(state.shown[0].id);
      return;
    }
    const inGallery = document.activeElement && document.activeElement.classList.contains("tile");
    const inStrip = document.activeElement && document.activeElement.classList.contains("strip");
    const actions = {
      j: () => (dialog.open ? step(1) : moveFocus(1)),
      k: () => (dialog.open ? step(-1) : moveFocus(-1)),
      s: toggleSymbols,
      t: nextTheme,
      "/": () => { if (dialog.open) dialog.close(); find("search").focus(); find("search").select(); },
    };
    if (dialog.open && !inStrip) Object.assign(actions, { ArrowRight: () => step(1), ArrowLeft: () => step(-1) });
    if (!dialog.open && inGallery) {
      Object.assign(actions, {
        ArrowRight: () => moveFocus(1), ArrowLeft: () => moveFocus(-1),
        ArrowDown: () => moveFocus(1, true), ArrowUp: () => moveFocus(-1, true),
      });
    }
    const action = actions[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  }

  function start() {
    for (const task of data.tasks) tiles.set(task.id, tile(task));
    for (const button of document.querySelectorAll("[data-filter]")) {
      const kind = button.dataset.filter;
      if (kind !== "all") button.querySelector("b").textContent = data.tasks.filter((task) => task.status === kind).length;
      button.addEventListener("click", () => { state.filter = kind; refresh(); });
    }
    find("search").addEventListener("input", (event) => { state.query = event.target.value; refresh(); });
    find("sort").addEventListener("change", (event) => { state.sort = event.target.value; refresh(); });
    find("symbols").addEventListener("click", toggleSymbols);
    find("theme").addEventListener("click", nextTheme);
    find("previous").addEventListener("click", () => step(-1));
    find("next").addEventListener("click", () => step(1));
    find("close").addEventListener("click", () => dialog.close());
    document.addEventListener("keydown", onKey);
    addEventListener("hashchange", follow);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (current) render(current); });
    let width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth !== width && current) render(current);
      width = innerWidth;
    });
    applyTheme();
    applySymbols();
    refresh();
    timeline();
    follow();
  }

  start();
})();
