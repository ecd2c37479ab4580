(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);

  /* A link to a subject's images opens them. */
  const open = (hash) => {
    let target = null;
    try { target = byId(decodeURIComponent(hash.slice(1))); } catch { return; }
    const block = target && target.closest("details");
    if (!block) return;
    for (let own = block; own; own = own.parentElement && own.parentElement.closest("details")) own.open = true;
    target.scrollIntoView();
    const summary = block.querySelector("summary");
    if (summary) summary.focus({ preventScroll: true });
  };
  addEventListener("hashchange", () => open(location.hash));
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[href^='#']");
    if (link && link.getAttribute("href") === location.hash) setTimeout(() => open(location.hash));
  });
  if (location.hash) open(location.hash);

  /* The viewer. */
  const holder = byId("viewer-meta");
  if (!holder) return;
  if (typeof DecompressionStream === "undefined") {
    document.querySelector(".viewer-old").hidden = false;
    return;
  }
  const meta = JSON.parse(holder.textContent);
  const texts = [...document.querySelectorAll(".viewer-data")];
  const choose = { subject: byId("viewer-subject"), method: byId("viewer-method"), reference: byId("viewer-reference"), wipe: byId("viewer-wipe") };
  const why = byId("viewer-why");
  const OUTSIDE = [84, 89, 96];
  const COLOURS = [[8, 48, 107], [66, 146, 198], [247, 247, 247], [239, 101, 72], [127, 0, 0]];
  const raw = meta.methods.find((own) => own.name === "raw");
  const labels = new Map(meta.methods.map((own) => [own.name, own.label]));
  const make = (tag, words, name) => {
    const node = document.createElement(tag);
    if (words) node.textContent = words;
    if (name) node.className = name;
    return node;
  };

  /* Unpacking: the other side of coding.py. */
  const inflate = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  const numbers = (bytes, count) => {
    const out = new Int16Array(count), high = bytes.length > count;
    for (let i = 0; i < count; i++) {
      const folded = high ? bytes[i] | (bytes[count + i] << 8) : bytes[i];
      out[i] = folded & 1 ? -(folded + 1) >> 1 : folded >> 1;
    }
    return out;
  };
  const mask = async (axis) => {
    const bytes = await inflate(axis.brain), size = axis.at.length * axis.width * axis.height;
    const out = new Uint8Array(size);
    for (let i = 0; i < size; i++) out[i] = (bytes[i >> 3] >> (7 - (i & 7))) & 1;
    return out;
  };
  /* Give each brain pixel back what its neighbours said of it. */
  const predicted = (rests, axis) => {
    const { width, height, mask: brain } = axis, out = new Int16Array(brain.length);
    for (let i = 0, k = 0; i < brain.length; i++) {
      if (!brain[i]) continue;
      const x = i % width, y = Math.floor(i / width) % height;
      const left = x ? out[i - 1] : 0, above = y ? out[i - width] : 0, corner = x && y ? out[i - width - 1] : 0;
      const low = Math.min(left, above), top = Math.max(left, above);
      out[i] = rests[k++] + Math.min(top, Math.max(low, left + above - corner));
    }
    return out;
  };
  const plain = (values, axis) => {
    const out = new Int16Array(axis.mask.length);
    for (let i = 0, k = 0; i < out.length; i++) if (axis.mask[i]) out[i] = values[k++];
    return out;
  };
  const OWN = 0, SMOOTH_FROM_RAW = 2;
  const levels = async ([way, text], axis, base) => {
    const bytes = await inflate(text);
    let count = 0;
    for (const inside of axis.mask) count += inside;
    if (way === OWN) return predicted(numbers(bytes, count), axis);
    let low = Infinity, top = -Infinity;
    for (let i = 0; i < base.length; i++) if (axis.mask[i]) { low = Math.min(low, base[i]); top = Math.max(top, base[i]); }
    const size = top - low + 1, all = numbers(bytes, size + count), rests = all.subarray(size);
    const means = new Int16Array(size);
    for (let i = 0, sum = 0; i < size; i++) means[i] = sum += all[i];
    const out = way === SMOOTH_FROM_RAW ? predicted(rests, axis) : plain(rests, axis);
    for (let i = 0; i < out.length; i++) if (axis.mask[i]) out[i] += means[base[i] - low];
    return out;
  };

  /* What is looked at; arrays are unpacked when first asked for, and dropped with their subject. */
  let data = null, kept = new Map(), turn = 0;
  const arrays = (method, scanner, axis) => {
    const name = [method, scanner, axis].join(" ");
    if (!kept.has(name)) {
      const packed = data.methods[method].scans[scanner][axis];
      const base = packed && packed[0] !== OWN ? arrays(raw.name, scanner, axis) : null;
      kept.set(name, packed ? Promise.resolve(base).then((own) => levels(packed, meta.axes[axis], own)) : Promise.resolve(null));
    }
    return kept.get(name);
  };
  const colour = (units) => {
    const place = (Math.max(-1, Math.min(1, units / meta.reach)) + 1) * 2, at = Math.min(3, Math.floor(place));
    return COLOURS[at].map((low, k) => low + (COLOURS[at + 1][k] - low) * (place - at));
  };
  const table = new Uint8ClampedArray(3 * 1001);
  for (let i = 0; i <= 1000; i++) table.set(colour(((i - 500) / 500) * meta.reach), 3 * i);

  const paint = (canvas, axis, slice, pixel, edge) => {
    const { width, height, mask: brain } = axis, pen = canvas.getContext("2d");
    const image = pen.createImageData(width, height), out = image.data, start = slice * width * height;
    for (let i = 0, o = 0; i < width * height; i++, o += 4) {
      pixel(start + i, brain[start + i], i % width < edge, out, o);
      out[o + 3] = 255;
    }
    pen.putImageData(image, 0, 0);
  };
  const greys = (before, after, method) => {
    const windows = [data.methods[raw ? raw.name : method].window, data.methods[method].window];
    return (i, inside, left, out, o) => {
      const own = left ? before : after, [low, top] = windows[left ? 0 : 1];
      const value = inside && own ? (255 * (own[i] - low)) / (top - low || 1) : 0;
      out[o] = out[o + 1] = out[o + 2] = value;
    };
  };
  const differences = (before, after) => (i, inside, left, out, o) => {
    const [own, reference] = left ? before : after;
    if (!inside || !own || !reference) { out[o] = OUTSIDE[0]; out[o + 1] = OUTSIDE[1]; out[o + 2] = OUTSIDE[2]; return; }
    const units = (own[i] - reference[i]) * meta.step;
    const at = 3 * Math.round(500 * (1 + Math.max(-1, Math.min(1, units / meta.reach))));
    out[o] = table[at]; out[o + 1] = table[at + 1]; out[o + 2] = table[at + 2];
  };

  /* One block an orientation: its slider, and a table of two rows. */
  byId("viewer-planes").style.setProperty("--columns", meta.scanners.length);
  const planes = meta.axes.map((axis, number) => {
    const title = axis.name[0].toUpperCase() + axis.name.slice(1);
    const block = make("section", "", "plane"), bar = make("div", "", "plane-bar"), slider = make("input"), place = make("output");
    const scroll = make("div", "", "scroll"), grid = make("table"), head = make("tr"), body = make("tbody"), top = make("thead");
    block.setAttribute("aria-label", title);
    slider.type = "range"; slider.min = 0; slider.max = axis.at.length - 1; slider.step = 1;
    slider.value = Math.floor(axis.at.length / 2);
    slider.setAttribute("aria-label", title + " slice");
    place.setAttribute("aria-live", "polite");
    bar.append(make("h4", title), slider, place);
    head.append(make("td"));
    for (const scanner of meta.scanners) { const cell = make("th", scanner); cell.scope = "col"; head.append(cell); }
    const rows = ["image", "difference"].map((kind) => {
      const row = make("tr"), name = make("th", kind), cells = [];
      name.scope = "row";
      row.append(name);
      for (const scanner of meta.scanners) {
        const cell = make("td"), canvas = make("canvas"), none = make("span", "no image", "none"), view = make("span", "", "view");
        canvas.width = axis.width; canvas.height = axis.height;
        canvas.style.aspectRatio = axis.ratio;
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", title + " slice on " + scanner);
        none.hidden = true;
        view.append(canvas);
        cell.append(view, none);
        row.append(cell);
        cells.push({ view, canvas, none });
      }
      body.append(row);
      return { name, cells };
    });
    top.append(head); grid.append(top, body); scroll.append(grid); block.append(bar, scroll);
    grid.setAttribute("aria-label", title + " slices: one column a scanner");
    scroll.tabIndex = 0; scroll.setAttribute("role", "region"); scroll.setAttribute("aria-label", title + " slices");
    byId("viewer-planes").append(block);
    const plane = { axis, number, title, slider, place, grid, rows };
    slider.addEventListener("input", () => draw([plane]));
    return plane;
  });

  const show = (cell, there, words) => {
    cell.view.hidden = !there; cell.none.hidden = there;
    cell.canvas.setAttribute("aria-label", words);
  };
  const draw = async (which) => {
    const mine = ++turn;
    for (const plane of which) plane.turn = mine;
    const method = choose.method.value, reference = Number(choose.reference.value);
    for (const plane of which) {
      const { axis, number, rows } = plane, slice = Number(plane.slider.value), wipe = Number(choose.wipe.value);
      const where = axis.letter + " = " + axis.at[slice] + " mm", edge = Math.round((wipe / 100) * axis.width);
      plane.grid.style.setProperty("--edge", (100 * edge) / axis.width + "%");
      plane.grid.classList.toggle("wiped", wipe > 0 && wipe < 100);
      plane.place.textContent = where + ", slice " + (slice + 1) + " of " + axis.at.length;
      plane.slider.setAttribute("aria-valuetext", plane.place.textContent);
      if (!axis.mask) axis.mask = await mask(axis);
      const every = (name) => Promise.all(meta.scanners.map((_, place) => (name ? arrays(name, place, number) : null)));
      const [before, after] = await Promise.all([every(raw && raw.name), every(method)]);
      if (plane.turn !== mine) continue; /* meanwhile something else was asked for */
      const units = [raw && data.methods[raw.name].units, data.methods[method].units];
      const pair = (own, place, known) => (known ? [own[place], own[reference]] : [null, null]);
      const said = wipe === 0 ? labels.get(method) : wipe === 100 ? "RAW" : "RAW left of the line, " + labels.get(method) + " right of it";
      rows[0].name.textContent = wipe === 0 ? labels.get(method) : wipe === 100 ? "RAW" : "RAW | " + labels.get(method);
      rows[1].name.textContent = "less " + meta.scanners[reference];
      meta.scanners.forEach((scanner, place) => {
        const of = plane.title + " slice, " + where + ", subject " + data.subject + " on " + scanner;
        const there = Boolean(before[place] || after[place]);
        const [image, difference] = rows.map((row) => row.cells[place]);
        show(image, there, of + ": " + said);
        if (there) paint(image.canvas, axis, slice, greys(before[place], after[place], method), edge);
        const known = there && Boolean(before[reference] || after[reference]) && (units[0] || units[1]);
        const itself = place === reference;
        difference.none.textContent = itself ? "reference" : !units[0] && !units[1] ? "no contrast of grey and white matter: no unit" : "no image";
        show(difference, known && !itself, of + ", less " + meta.scanners[reference] + ": " + said);
        if (known && !itself) paint(difference.canvas, axis, slice, differences(pair(before, place, units[0]), pair(after, place, units[1])), edge);
      });
    }
  };
  const pick = () => {
    data = JSON.parse(texts[Number(choose.subject.value)].textContent);
    kept = new Map();
    why.textContent = "Subject " + data.subject + ": " + data.why;
    draw(planes);
  };
  const named = () => { byId("viewer-after").textContent = "all " + labels.get(choose.method.value); };

  for (const own of meta.methods) if (own !== raw) { const option = make("option", own.label); option.value = own.name; choose.method.append(option); }
  choose.method.selectedIndex = 0;
  named();
  choose.subject.addEventListener("change", pick);
  choose.method.addEventListener("change", () => { named(); draw(planes); });
  choose.reference.addEventListener("change", () => draw(planes));
  choose.wipe.addEventListener("input", () => draw(planes));
  /* A mouse draws the line along; a finger scrolls the page. */
  for (const kind of ["pointerdown", "pointermove"]) byId("viewer-planes").addEventListener(kind, (event) => {
    if (event.pointerType !== "mouse" || !(event.buttons & 1) || event.target.tagName !== "CANVAS") return;
    choose.wipe.value = (100 * event.offsetX) / event.target.clientWidth;
    draw(planes);
  });
  choose.wipe.setAttribute("aria-label", "Before and after: per cent of each image, from the left, that shows RAW");
  for (const way of document.querySelectorAll(".viewer-way")) {
    way.hidden = false;
    way.firstElementChild.addEventListener("click", (event) => { choose.subject.value = event.target.dataset.subject; pick(); });
  }
  document.querySelector(".viewer-body").hidden = false;
  new IntersectionObserver((entries, observer) => {
    if (entries.some((entry) => entry.isIntersecting)) { observer.disconnect(); if (!data) pick(); }
  }, { rootMargin: "400px" }).observe(byId("viewer"));
})();
