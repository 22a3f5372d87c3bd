"use strict";
// Everything a document says is put into the page as text; no markup is made of it.
(function () {
  const at = (id) => document.getElementById(id);

  function make(tag, properties, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (name === "class") node.className = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name in node) node[name] = value;
      else node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  // Pages: the part that the address names is shown.
  const pages = [...document.querySelectorAll(".page")];
  const links = [...document.querySelectorAll(".top nav a")];
  function show(moved) {
    const wanted = decodeURIComponent(location.hash.slice(1));
    const page = pages.find((page) => page.id === wanted) || pages[0];
    for (const other of pages) other.hidden = other !== page;
    const part = page.classList.contains("scan") ? "scans" : page.id;
    for (const link of links) {
      if (link.getAttribute("href") === "#" + part) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (moved && wanted !== "main") window.scrollTo(0, 0);
  }
  window.addEventListener("hashchange", () => show(true));
  show(false);
  // The browser goes to the part's own place, which lies under the head of the page.
  if (location.hash) window.addEventListener("load", () => window.scrollTo(0, 0));

  if (at("data")) radiographs(JSON.parse(at("data").textContent));
  if (at("scan-table")) ratings(at("scan-table"));

  function radiographs(data) {
    const PAGE = 50;
    const { rows, models, labels, warnings } = data;
    const withFlips = data.compared;
    const withModels = new Set(rows.map((row) => row.m)).size > 1;
    // Where a label of the table stands among those of each model; -1 where the model does not have it.
    const places = models.map((model) => labels.map((_, label) => model.labels.indexOf(label)));
    for (const row of rows) {
      row.p = row.p || [];
      row.y = row.y || [];
      row.w = row.w || [];
      row.f = row.f || [];
      row.h = row.h || [];
      row.v = row.v || [];
      const model = models[row.m];
      row.labels = model.labels;
      row.closest = closest(row, model);
      const words = [row.n, row.c, model.title, ...row.w.map((warning) => warnings[warning])];
      if (row.e) words.push(row.e[0], row.e[1]);
      words.push(...row.y.map((nth) => labels[model.labels[nth]]));
      row.words = words.join("\n").toLowerCase();
    }

    // The label that is farthest over its threshold, or nearest to it.
    function closest(row, model) {
      let best = -1;
      for (let nth = 0; nth < row.p.length; nth++) {
        const over = row.p[nth] - model.thresholds[nth];
        const most = best < 0 ? -Infinity : row.p[best] - model.thresholds[best];
        if (over > most) best = nth;
      }
      return best;
    }

    const state = { sort: "name", down: false, page: 0, shown: rows, open: -1 };
    const fields = {
      text: at("f-text"), label: at("f-label"), low: at("f-low"), high: at("f-high"), outcome: at("f-outcome"),
      warning: at("f-warning"), flips: at("f-flips"),
    };
    labels.forEach((label, nth) => fields.label.append(make("option", { value: String(nth) }, label)));
    warnings.forEach((code, nth) => fields.warning.append(make("option", { value: String(nth) }, code)));
    at("l-flips").hidden = !withFlips;
    at("table").classList.toggle("imaged", data.images);

    const columns = [
      { id: "name", title: "Study", key: (row) => row.n.toLowerCase() },
      { id: "finding", title: "Finding", key: (row) => probability(row, labelOf()) ?? -1 },
      { id: "warnings", title: "Warnings", key: (row) => row.w.length },
    ];
    if (withFlips) columns.push({ id: "flips", title: "Flips", key: (row) => row.f.length });
    if (withModels) columns.push({ id: "model", title: "Model", key: (row) => models[row.m].title });
    columns.push({ id: "read", title: "Read at", key: (row) => row.r });

    function labelOf() {
      return fields.label.value === "" ? -1 : Number(fields.label.value);
    }

    // Of the wanted label, or of the one that is farthest over its threshold.
    function nthOf(row, label) {
      return label < 0 ? row.closest : places[row.m][label];
    }

    function probability(row, label) {
      const nth = nthOf(row, label);
      return nth >= 0 && nth < row.p.length ? row.p[nth] : null;
    }

    function wanted() {
      const words = fields.text.value.toLowerCase().split(/\s+/).filter(Boolean);
      const label = labelOf();
      const low = fields.low.value === "" ? null : Number(fields.low.value);
      const high = fields.high.value === "" ? null : Number(fields.high.value);
      const { outcome, warning, flips } = fields;
      const isPositive = (row) => (label < 0 ? row.y.length > 0 : row.y.includes(nthOf(row, label)));
      return (row) => {
        if (!words.every((word) => row.words.includes(word))) return false;
        if (low !== null || high !== null) {
          const value = probability(row, label);
          if (value === null || (low !== null && value < low) || (high !== null && value > high)) return false;
        }
        if (outcome.value === "failed" && !row.e) return false;
        if (outcome.value === "positive" && !isPositive(row)) return false;
        if (outcome.value === "negative" && (row.e || isPositive(row))) return false;
        if (outcome.value === "" && label >= 0 && nthOf(row, label) < 0 && !row.e) return false;
        if (warning.value === "*" && row.w.length === 0) return false;
        if (warning.value === "-" && row.w.length > 0) return false;
        if (warning.value !== "" && warning.value !== "*" && warning.value !== "-" && !row.w.includes(Number(warning.value))) return false;
        if (flips.checked && (label < 0 ? row.f.length === 0 : !row.f.some(([nth]) => nth === nthOf(row, label)))) return false;
        return true;
      };
    }

    function filter() {
      state.shown = rows.filter(wanted());
      sort();
    }

    function sort() {
      const column = columns.find((column) => column.id === state.sort);
      const keys = new Map(state.shown.map((row) => [row, column.key(row)]));
      const sign = state.down ? -1 : 1;
      state.shown.sort((a, b) => {
        const [x, y] = [keys.get(a), keys.get(b)];
        if (x !== y) return x < y ? -sign : sign;
        return a.n < b.n ? -1 : a.n > b.n ? 1 : 0;
      });
      state.page = 0;
      draw();
    }

    function head() {
      const cells = columns.map((column) => {
        const sorted = state.sort === column.id ? (state.down ? "descending" : "ascending") : "none";
        const press = () => {
          state.down = state.sort === column.id ? !state.down : column.id !== "name" && column.id !== "model";
          state.sort = column.id;
          sort();
          at("head").querySelector(`[data-column="${column.id}"]`).focus();
        };
        const button = make("button", { type: "button", onclick: press }, column.title);
        button.dataset.column = column.id;
        return make("th", { scope: "col", "aria-sort": sorted }, button);
      });
      if (data.images) cells.unshift(make("th", { scope: "col" }, "Image"));
      at("head").replaceChildren(...cells);
    }

    function gauge(value, threshold, positive) {
      const bar = make("i");
      const mark = make("b");
      bar.style.width = value * 100 + "%";
      mark.style.left = threshold * 100 + "%";
      return make("span", { class: positive ? "gauge positive" : "gauge", "aria-hidden": "true" }, bar, mark);
    }

    function measured([label, value, unit]) {
      return `${label} ${Number(value.toPrecision(6))} ${unit}`;
    }

    function findingCell(row) {
      if (row.e) return make("td", null, make("code", null, row.e[0]), make("span", { class: "sub" }, row.e[1]));
      const label = labelOf();
      if (label >= 0) {
        const nth = nthOf(row, label);
        if (nth < 0) return make("td", null, make("span", { class: "quiet" }, "not a label of this model"));
        const positive = row.y.includes(nth);
        const words = row.p[nth].toFixed(3) + (positive ? " positive" : " negative");
        return make("td", null, words, gauge(row.p[nth], models[row.m].thresholds[nth], positive));
      }
      const chips = row.y.map((nth) => make("span", { class: "chip positive" }, `${labels[row.labels[nth]]} ${row.p[nth].toFixed(3)}`));
      if (chips.length === 0 && row.closest >= 0) {
        const nth = row.closest;
        return make("td", { class: "quiet" }, `negative; nearest ${labels[row.labels[nth]]} ${row.p[nth].toFixed(3)}`);
      }
      if (chips.length === 0 && row.v.length) return make("td", null, measured(row.v[0]));
      return make("td", null, make("span", { class: "chips" }, ...chips));
    }

    function line(row, nth) {
      const open = () => openStudy(nth);
      const slash = row.n.lastIndexOf("/") + 1;
      const name = make("button", { type: "button", class: "open", onclick: open, onkeydown: walk, title: row.n }, row.n.slice(slash));
      name.dataset.row = String(nth);
      const cells = [make("th", { scope: "row" }, name, slash ? make("span", { class: "sub name" }, row.n.slice(0, slash)) : null)];
      cells.push(findingCell(row));
      cells.push(make("td", null, ...row.w.flatMap((warning) => [make("code", null, warnings[warning]), " "])));
      if (withFlips) {
        const flips = row.f.map(([label, there]) => make("span", { class: "sub" }, `${labels[row.labels[label]]} ${there.toFixed(3)} → ${row.p[label].toFixed(3)}`));
        cells.push(make("td", null, ...flips));
      }
      if (withModels) cells.push(make("td", null, models[row.m].title));
      cells.push(make("td", { class: "quiet" }, row.r));
      if (data.images) {
        const source = row.t || (row.h.length ? row.h[0][1] : null);
        // The name beside it opens the same; the image is for the pointer.
        const image = source ? make("img", { src: source, alt: "", loading: "lazy", width: 60, height: 60, onclick: open }) : null;
        cells.unshift(make("td", { class: "thumb" }, image));
      }
      return make("tr", null, ...cells);
    }

    // Arrow keys walk over the studies of a page.
    function walk(event) {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      const buttons = [...at("rows").querySelectorAll(".open")];
      const next = buttons[buttons.indexOf(event.currentTarget) + step];
      if (next) {
        event.preventDefault();
        next.focus();
      }
    }

    function draw() {
      const { shown, page } = state;
      const last = Math.max(0, Math.ceil(shown.length / PAGE) - 1);
      const first = page * PAGE;
      head();
      at("rows").replaceChildren(...shown.slice(first, first + PAGE).map((row, nth) => line(row, first + nth)));
      at("count").textContent = shown.length === rows.length ? `${rows.length} radiographs` : `${shown.length} of ${rows.length} radiographs`;
      at("p-where").textContent = shown.length ? `${first + 1} to ${Math.min(first + PAGE, shown.length)} of ${shown.length}` : "none";
      at("p-first").disabled = at("p-back").disabled = page === 0;
      at("p-next").disabled = at("p-last").disabled = page >= last;
      at("pager").hidden = last === 0;
    }

    function turn(page) {
      state.page = page;
      draw();
      at("count").scrollIntoView({ block: "nearest" });
    }
    at("p-first").addEventListener("click", () => turn(0));
    at("p-back").addEventListener("click", () => turn(state.page - 1));
    at("p-next").addEventListener("click", () => turn(state.page + 1));
    at("p-last").addEventListener("click", () => turn(Math.ceil(state.shown.length / PAGE) - 1));
    at("filters").addEventListener("input", filter);
    at("filters").addEventListener("submit", (event) => event.preventDefault());
    at("filters").addEventListener("reset", () => setTimeout(filter, 0));

    // One study: image and heatmap beside each other, and every label.
    const dialog = at("study");
    at("s-close").addEventListener("click", () => dialog.close());
    at("s-back").addEventListener("click", () => openStudy(state.open - 1));
    at("s-next").addEventListener("click", () => openStudy(state.open + 1));
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) openStudy(state.open + step);
    });
    dialog.addEventListener("close", () => {
      const page = Math.floor(state.open / PAGE);
      if (page !== state.page) turn(page);
      const row = at("rows").querySelector(`[data-row="${state.open}"]`);
      if (row) row.focus();
    });

    function openStudy(nth) {
      const row = state.shown[nth];
      if (!row) return;
      state.open = nth;
      const model = models[row.m];
      at("study-title").textContent = row.n;
      at("s-where").textContent = `${nth + 1} of ${state.shown.length}`;
      at("s-back").disabled = nth === 0;
      at("s-next").disabled = nth === state.shown.length - 1;
      const about = make("p", { class: "quiet" }, `${model.title}, ${model.preprocessing.join(", ")}, read at ${row.r} `);
      if (row.j) about.append(make("a", { href: row.j }, "JSON"));
      const parts = [about];
      if (row.e) parts.push(make("p", { class: "note" }, make("code", null, row.e[0]), " ", row.e[1]));
      parts.push(images(row, model));
      if (row.w.length) parts.push(make("p", null, "Warnings: ", ...row.w.flatMap((warning) => [make("code", null, warnings[warning]), " "])));
      if (row.p.length) parts.push(findings(row, model));
      if (row.v.length) parts.push(make("p", null, "Measured: ", row.v.map(measured).join("; ")));
      at("study-body").replaceChildren(...parts.filter(Boolean));
      dialog.scrollTop = 0;
      if (!dialog.open) {
        dialog.showModal();
        at("s-close").focus();
      }
    }

    function images(row, model) {
      const figures = [];
      if (row.i) figures.push(make("figure", null, make("img", { src: row.i, alt: `Radiograph ${row.n}` }), make("figcaption", null, "The radiograph")));
      for (const [label, source] of row.h) {
        const nth = model.labels.findIndex((place) => labels[place] === label);
        const value = nth >= 0 && nth < row.p.length ? ` ${row.p[nth].toFixed(3)}, threshold ${model.thresholds[nth].toFixed(3)}` : "";
        const words = `What speaks for ${label}${value}; ${model.title}`;
        const figure = make("figure");
        // A heatmap with the original beside it needs the whole width.
        const loaded = (event) => figure.classList.toggle("across", event.target.naturalWidth > 1.5 * event.target.naturalHeight);
        figure.append(make("img", { src: source, alt: words, onload: loaded }), make("figcaption", null, words));
        figures.push(figure);
      }
      return figures.length ? make("div", { class: "images" }, ...figures) : null;
    }

    function findings(row, model) {
      const there = new Map(row.f);
      const order = row.p.map((_, nth) => nth).sort((a, b) => row.p[b] - model.thresholds[b] - (row.p[a] - model.thresholds[a]));
      const body = order.map((nth) => {
        const positive = row.y.includes(nth);
        const flip = there.has(nth) ? make("span", { class: "sub" }, `${there.get(nth).toFixed(3)} in the other results: the decision flips`) : null;
        return make("tr", null,
          make("th", { scope: "row" }, labels[row.labels[nth]], flip),
          make("td", { class: "n" }, row.p[nth].toFixed(3)),
          make("td", null, gauge(row.p[nth], model.thresholds[nth], positive)),
          make("td", { class: "n" }, model.thresholds[nth].toFixed(3)),
          make("td", null, positive ? "positive" : "negative"));
      });
      const titles = [["Label", ""], ["Probability", "n"], ["", ""], ["Threshold", "n"], ["Decision", ""]];
      const titled = titles.map(([title, kind]) => (title ? make("th", { scope: "col", class: kind }, title) : make("td")));
      return make("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Findings" },
        make("table", { class: "findings" }, make("thead", null, make("tr", null, ...titled)), make("tbody", null, ...body)));
    }

    draw();
  }

  // Ratings are held by the page alone, and saved as a file.
  function ratings(table) {
    const rows = [...table.tBodies[0].rows];
    let unsaved = false;
    const cell = (text) => text.replace(/[\t\r\n]+/g, " ");
    const keyOf = (row) => [row.dataset.container, row.dataset.name, row.dataset.model].map(cell).join("\t");
    const say = (text) => { at("r-said").textContent = text; };
    table.addEventListener("input", () => { unsaved = true; say(""); });
    window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
    at("r-save").addEventListener("click", () => {
      const lines = ["container\tname\tmodel\trating\tnote"];
      for (const row of rows) {
        const rating = row.querySelector(".rating").value;
        const note = cell(row.querySelector(".remark").value);
        if (rating || note) lines.push([keyOf(row), rating, note].join("\t"));
      }
      const address = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/tab-separated-values" }));
      make("a", { href: address, download: "ratings.tsv" }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10000);
      unsaved = false;
      say(`${lines.length - 1} saved`);
    });
    at("r-load").addEventListener("change", async (event) => {
      const [file] = event.target.files;
      if (!file) return;
      const known = new Map(rows.map((row) => [keyOf(row), row]));
      let taken = 0, unknown = 0;
      for (const line of (await file.text()).split(/\r?\n/).slice(1).filter(Boolean)) {
        const [container, name, model, rating, note] = line.split("\t");
        const row = known.get([container, name, model].join("\t"));
        if (!row || !["", "accept", "reject", "unsure"].includes(rating)) { unknown++; continue; }
        row.querySelector(".rating").value = rating;
        row.querySelector(".remark").value = note || "";
        taken++;
      }
      say(`${taken} loaded` + (unknown ? `, ${unknown} of the file are about no scan here` : ""));
    });

    // Columns sort by their number, or else by their text.
    [...table.tHead.rows[0].cells].slice(0, 8).forEach((head, nth) => {
      const title = head.textContent;
      const valueOf = (row) => {
        const cells = row.cells.length === table.tHead.rows[0].cells.length ? row.cells : null;
        const text = cells ? cells[nth].textContent.trim() : nth === 0 ? row.cells[0].textContent.trim() : "";
        return nth > 0 && nth < 7 ? (text === "" ? -Infinity : parseFloat(text)) : text.toLowerCase();
      };
      const press = () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const keyed = rows.map((row) => [valueOf(row), row]);
        keyed.sort(([a], [b]) => (a === b ? 0 : a < b ? -1 : 1) * (down ? -1 : 1));
        table.tBodies[0].append(...keyed.map(([, row]) => row));
      };
      head.replaceChildren(make("button", { type: "button", onclick: press }, title));
    });
  }
})();
