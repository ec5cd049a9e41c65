// A picture with sliders: everything that it draws lies in the page, so it moves without a kernel and without a network.
(() => {
  const root = document.currentScript.closest(".symbreak-sliders");
  const { kind, sliders, data } = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  const INK = "#1a1a1a", GRID = "#d9d9d9", BLUE = "#0072b2", RED = "#d55e00", WATER = "#cfe3f1";
  const count = n => n.toLocaleString("en"), percent = (part, whole) => `${(100*part/whole).toFixed(part < whole/100 ? 2 : 0)} %`;

  // Signs of a periodic lattice, a bit a site; a frame for each field and time.
  const bytes = data.frames && Uint8Array.from(atob(data.frames), c => c.charCodeAt(0));
  const bit = (frame, i, j, n) => {
    const k = frame*Math.ceil(n*n/8)*8 + (i + n) % n*n + (j + n) % n;
    return bytes[k >> 3] >> (7 - (k & 7)) & 1;
  };

  function lattice(context, width, [field, time]) {
    const n = data.size, frame = field*data.times.length + time, step = Math.max(1, Math.floor(Math.min(width, 440)/n)), side = step*n;
    const left = Math.floor((width - side)/2);
    let up = 0, walls = 0;
    context.fillStyle = "#fff";
    context.fillRect(left, 0, side, side);
    context.fillStyle = "#3a3a3a";
    context.strokeStyle = RED;
    context.lineWidth = Math.max(1.5, step/3);
    context.beginPath();
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) {
      const here = bit(frame, i, j, n), x = left + j*step, y = i*step;
      if (here) { up += 1; context.fillRect(x, y, step, step); }
      if (here !== bit(frame, i, j + 1, n)) { walls += 1; context.moveTo(x + step, y); context.lineTo(x + step, y + step); }
      if (here !== bit(frame, i + 1, j, n)) { walls += 1; context.moveTo(x, y + step); context.lineTo(x + step, y + step); }
    }
    context.stroke();
    context.strokeStyle = INK;
    context.lineWidth = 1;
    context.strokeRect(left, 0, side, side);
    const energy = 2*walls - 2*n*n - data.fields[field]*(2*up - n*n);
    return `After ${count(data.times[time])} sweep${data.times[time] === 1 ? "" : "s"} in the field ${sliders[0].texts[field]}: ` +
      `domain walls of length ${count(walls)}, ${percent(up, n*n)} of the spins up (dark), energy ${(energy/(n*n)).toFixed(2).replace("-", "−")} J a site.`;
  }
  lattice.height = width => Math.max(1, Math.floor(Math.min(width, 440)/data.size))*data.size + 1;

  // Axes of one panel; gives the functions from data to pixels.
  function axes(context, box, across, up) {
    const place = ({ range: [low, high], log }, v) => log ? Math.log(Math.max(v, low)/low)/Math.log(high/low) : (v - low)/(high - low);
    const x = v => box.x + box.w*place(across, v), y = v => box.y + box.h*(1 - place(up, v));
    context.font = "13px system-ui, sans-serif";
    context.fillStyle = INK;
    context.strokeStyle = GRID;
    context.lineWidth = 1;
    context.textAlign = "center";
    for (const [v, text] of across.ticks) {
      context.strokeRect(x(v), box.y, 0, box.h);
      context.fillText(text, x(v), box.y + box.h + 16);
    }
    context.fillText(across.label, box.x + box.w/2, box.y + box.h + 34);
    context.textAlign = "right";
    for (const [v, text] of up.ticks) {
      context.strokeRect(box.x, y(v), box.w, 0);
      context.fillText(text, box.x - 6, y(v) + 4);
    }
    context.textAlign = "left";
    context.fillText(up.label, box.x - 40, box.y - 10);
    context.lineWidth = 2;
    return { x, y };
  }

  const trace = (context, colour, points) => {
    context.strokeStyle = colour;
    context.beginPath();
    points.forEach(([x, y]) => context.lineTo(x, y));
    context.stroke();
  };
  const steps = [.001, .01, .1, 1, 10, 100].flatMap(d => [d, 2*d, 5*d]);
  const between = ([low, high], all) => all.filter(v => v >= low && v <= high).map(v => [v, count(v)]);

  function landscape(context, width, [network, water]) {
    const { values, multiplicity, basins } = data.networks[network], total = multiplicity.reduce((a, b) => a + b, 0);
    const level = data.water[water], wetted = [data.water[0], data.water[data.water.length - 1]];
    const below = values.filter(v => v <= level).length, wet = multiplicity.slice(0, below).reduce((a, b) => a + b, 0);
    const narrow = width < 520, w = (narrow ? width : width/2) - 75, h = 200, losses = [wetted[0], data.top];
    let box = { x: 44, y: 24, w, h };
    let { x, y } = axes(context, box, { label: "share of configurations", range: [0, 1], ticks: [0, .5, 1].map(v => [v, `${100*v} %`]) },
      { label: "loss", range: losses, ticks: between(losses, steps), log: true });
    const curve = [];
    let before = 0, after = 0;
    values.forEach((value, k) => {
      after += multiplicity[k]/total;
      context.fillStyle = WATER;
      if (k < below) context.fillRect(x(before), y(level), x(after) - x(before), y(value) - y(level));
      curve.push([x(before), y(value)], [x(after), y(value)]);
      before = after;
    });
    trace(context, RED, curve);
    trace(context, BLUE, [[x(0), y(level)], [x(1), y(level)]]);

    box = narrow ? { x: 44, y: 24 + h + 74, w, h } : { x: width/2 + 50, y: 24, w, h };
    const most = 10**Math.max(1, Math.ceil(Math.log10(Math.max(...data.networks.flatMap(n => n.basins)))));
    ({ x, y } = axes(context, box, { label: "water level (loss)", range: wetted, ticks: between(wetted, steps), log: true },
      { label: "separate basins", range: [1, most], ticks: between([1, most], [1, 10, 100, 1000, 10000]), log: true }));
    const shown = values.filter(value => value <= wetted[1]).flatMap((value, k) => [[x(value), y(k ? basins[k - 1] : 1)], [x(value), y(basins[k])]]);
    trace(context, RED, [...shown, [x(wetted[1]), shown.length ? shown[shown.length - 1][1] : y(1)]]);
    trace(context, BLUE, [[x(level), box.y], [x(level), box.y + h]]);

    const name = `${sliders[0].label} ${sliders[0].texts[network]}: ${count(values.length)} levels.`, loss = sliders[1].texts[water];
    if (!below) return `${name} No configuration lies at loss ${loss} or below.`;
    const parts = basins[below - 1];
    return `${name} ${count(wet)} of ${count(total)} configurations (${percent(wet, total)}) lie at loss ${loss} or below, ` +
      (parts === 1 ? "all in one basin: single changes of a weight connect them." :
        `in ${count(parts)} basins that single changes of a weight do not connect.`);
  }
  landscape.height = width => width < 520 ? 545 : 270;

  const draw = { lattice, landscape }[kind], canvas = document.createElement("canvas"), said = document.createElement("p");
  canvas.setAttribute("role", "img");
  said.setAttribute("role", "status");
  const inputs = sliders.map(({ label, texts, start }) => {
    const [row, name, value] = ["label", "span", "span"].map(tag => document.createElement(tag));
    const input = Object.assign(document.createElement("input"), { type: "range", min: 0, max: texts.length - 1, step: 1 });
    input.value = start;
    input.dataset.lmSuppressShortcuts = "true";   // arrow keys of a focused slider move it, not JupyterLab's cells
    name.textContent = label;
    name.className = "name";
    value.setAttribute("aria-hidden", "true");   // the slider says it
    row.append(name, input, value);
    input.addEventListener("input", show);
    return input;
  });
  function show() {
    const width = root.clientWidth && canvas.clientWidth || 600, height = draw.height(width), sharp = window.devicePixelRatio || 1;
    canvas.width = Math.round(width*sharp);
    canvas.height = Math.round(height*sharp);
    canvas.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.scale(sharp, sharp);
    inputs.forEach((input, k) => {
      const text = sliders[k].texts[input.value];
      input.setAttribute("aria-valuetext", text);
      input.nextElementSibling.textContent = text;
    });
    const text = draw(context, width, inputs.map(input => Number(input.value)));
    canvas.setAttribute("aria-label", text);
    if (said.textContent !== text) said.textContent = text;
  }
  root.querySelectorAll(".still").forEach(element => element.remove());
  root.prepend(...inputs.map(input => input.parentElement), canvas, said);
  let seen = 0;
  new ResizeObserver(() => { if (canvas.clientWidth !== seen) { seen = canvas.clientWidth; show(); } }).observe(root);
  show();
})();
