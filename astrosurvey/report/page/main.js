// Ties the page together. `data-ready` on the root says that all of it has run, `data-error` that something has not.

const root = document.documentElement;
const fault = (text) => { root.dataset.error = [root.dataset.error, text].filter(Boolean).join("; "); };
window.addEventListener("error", (event) => fault(event.message || `cannot load ${event.target?.tagName}`), true);
window.addEventListener("unhandledrejection", (event) => fault(String(event.reason)));
document.addEventListener("securitypolicyviolation", (event) => fault(`${event.violatedDirective}: ${event.blockedURI}`));

function setUpTheme() {
  const button = document.getElementById("theme");
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; });
}

function setUpCopying() {
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
  }
}

// A plugin's section runs no script, so the page measures it.
function setUpFrames() {
  for (const frame of document.querySelectorAll("iframe.plugin")) {
    const fit = () => {
      const inside = frame.contentDocument?.documentElement;
      if (inside) frame.style.height = `${inside.scrollHeight + 4}px`;
    };
    frame.addEventListener("load", fit);
    fit();
  }
}

function setUpPrinting() {
  window.addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach((d) => {
    d.open = true;
    d.dataset.opened = "";
  }));
  window.addEventListener("afterprint", () => document.querySelectorAll("details[data-opened]").forEach((d) => {
    d.open = false;
    delete d.dataset.opened;
  }));
}

async function setUpSky() {
  const canvas = document.getElementById("canvas");
  if (!canvas) return;
  const data = readData(), sky = new Sky(canvas, data);
  const byId = new Map(Array.from(data.sources.id ?? [], (id, place) => [id, place]));
  const said = document.getElementById("said"), where = document.getElementById("where"), chooser = document.getElementById("tile");
  const say = (text) => { said.textContent = text; };
  const panel = new Panel(document.getElementById("panel"), sky, (i, how) => pick(i, how));
  await sky.load();

  const pick = (i, { move = false } = {}) => {
    sky.chosen = i;
    if (i < 0) {
      panel.clear();
      history.replaceState(null, "", "#sky");
    } else {
      const place = data.sources.tile[i];
      if (!data.mosaic && sky.tile !== place) {
        sky.tile = place;
        if (chooser) chooser.value = String(place);
        sky.frame();
      }
      if (move) sky.view.center(...sky.position(i), Math.min(3, 120 / Math.max(data.sources.a[i], 8)));
      panel.fill(i);
      say(`Source ${data.sources.id[i]} is shown.`);
      history.replaceState(null, "", `#source=${data.sources.id[i]}`);
    }
    sky.draw();
  };
  const find = (text) => {
    const i = byId.get(Number(text.trim()));
    if (i === undefined) say(`There is no source ${text.trim()} in this page.`);
    else pick(i, { move: true });
  };
  const follow = () => {
    const match = /^#source=(\d+)$/.exec(location.hash);
    if (match) find(match[1]);
  };

  listen(sky.view, canvas, {
    click: (px, py) => pick(sky.sourceAt(px, py)),
    move: (px, py) => {
      const [x, y] = sky.view.toFrame(px, py), place = sky.tileAt(x, y);
      if (place < 0) { where.textContent = ""; return; }
      const tile = data.tiles[place], [x0, y0] = sky.box(place);
      const sky_ = tile.wcs ? toSky(tile.wcs, x - x0, y - y0) : null;
      const radec = sky_ ? `  ra ${fixed(sky_[0], 5)}°  dec ${fixed(sky_[1], 5)}°` : "";
      where.textContent = `${tile.name}  x ${fixed(x - x0, 0)}  y ${fixed(y - y0, 0)}${radec}`;
    },
  });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    const significance = () => Array.from(byId.values()).sort((a, b) => data.sources.significance[b] - data.sources.significance[a]);
    if (steps[event.key]) sky.view.pan(...steps[event.key]);
    else if (event.key === "+" || event.key === "=") sky.view.zoom(1.4);
    else if (event.key === "-") sky.view.zoom(1 / 1.4);
    else if (event.key === "0") sky.view.fit();
    else if (event.key === "Escape") pick(-1);
    else if ((event.key === "n" || event.key === "p") && data.number) {
      const order = significance(), at = order.indexOf(sky.chosen);
      pick(order[(at + (event.key === "n" ? 1 : -1) + order.length) % order.length] ?? order[0], { move: true });
    } else return;
    event.preventDefault();
  });

  const buttons = { "zoom-in": () => sky.view.zoom(1.5), "zoom-out": () => sky.view.zoom(1 / 1.5), fit: () => sky.view.fit() };
  for (const [id, act] of Object.entries(buttons)) document.getElementById(id).addEventListener("click", act);
  for (const name of ["sources", "truth"]) {
    const box = document.getElementById(`show-${name}`);
    box?.addEventListener("change", () => { sky.show[name] = box.checked; sky.draw(); });
  }
  const filter = document.getElementById("filter");
  filter?.addEventListener("change", () => { sky.show.filter = filter.value; sky.draw(); });
  chooser?.addEventListener("change", () => {
    if (data.mosaic) sky.view.fit(chooser.value === "" ? sky.view.bounds : sky.box(Number(chooser.value)));
    else {
      sky.tile = Number(chooser.value);
      sky.frame();
    }
  });
  document.getElementById("search")?.addEventListener("submit", (event) => {
    event.preventDefault();
    find(document.getElementById("search-id").value);
  });
  new ResizeObserver(() => sky.draw()).observe(canvas);
  window.addEventListener("hashchange", follow);
  panel.clear();
  follow();
  sky.paint();
}

setUpTheme();
setUpCopying();
setUpFrames();
setUpPrinting();
setUpSky().then(() => { root.dataset.ready = "true"; }, (error) => fault(String(error)));
