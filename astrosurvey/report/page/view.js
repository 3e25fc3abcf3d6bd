// The view: which part of the frame the canvas shows. x runs right and y up, in pixels of the frame.

class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.x = 0;
    this.y = 0;
    this.scale = 1; // screen pixels a frame pixel
    this.bounds = [0, 0, 1, 1];
    this.changed = () => {};
  }

  get width() { return this.canvas.clientWidth; }
  get height() { return this.canvas.clientHeight; }
  get least() { return 0.5 * this.fitting(this.bounds); }

  fitting([x0, y0, x1, y1]) {
    return Math.min(this.width / Math.max(x1 - x0, 1), this.height / Math.max(y1 - y0, 1));
  }

  fit(box = this.bounds, margin = 1) {
    this.x = (box[0] + box[2]) / 2 - 0.5;
    this.y = (box[1] + box[3]) / 2 - 0.5;
    this.scale = this.fitting(box) * margin;
    this.changed();
  }

  toScreen(x, y) {
    return [this.width / 2 + (x - this.x) * this.scale, this.height / 2 - (y - this.y) * this.scale];
  }

  toFrame(px, py) {
    return [this.x + (px - this.width / 2) / this.scale, this.y - (py - this.height / 2) / this.scale];
  }

  pan(dx, dy) {
    const [x0, y0, x1, y1] = this.bounds;
    this.x = Math.min(Math.max(this.x - dx / this.scale, x0), x1);
    this.y = Math.min(Math.max(this.y + dy / this.scale, y0), y1);
    this.changed();
  }

  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.toFrame(px, py);
    this.scale = Math.min(Math.max(this.scale * factor, this.least), 40);
    const [nx, ny] = this.toFrame(px, py);
    this.x += x - nx;
    this.y += y - ny;
    this.changed();
  }

  center(x, y, scale = this.scale) {
    this.x = x;
    this.y = y;
    this.scale = Math.max(scale, this.scale);
    this.changed();
  }
}

// Wheel, drag and pinch. A press that does not move is a click.

function listen(view, canvas, { click, move }) {
  const pointers = new Map();
  let travelled = 0;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const step = event.deltaMode === 1 ? event.deltaY * 24 : event.deltaY;
    view.zoom(Math.exp(-Math.max(-120, Math.min(120, step)) / 320), ...place(event));
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (!pointers.size) travelled = 0;
    pointers.set(event.pointerId, place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = pointers.get(event.pointerId);
    move(...now);
    if (!before) return;
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    pointers.set(event.pointerId, now);
    travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (!others.length) {
      if (travelled > 4) view.pan(now[0] - before[0], now[1] - before[1]);
      return;
    }
    const [other] = others;
    const apart = (at) => Math.hypot(at[0] - other[0], at[1] - other[1]);
    view.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    if (apart(before) > 0) view.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  });
  const release = (event) => {
    const single = pointers.size === 1;
    if (pointers.delete(event.pointerId) && single && travelled <= 4 && event.type === "pointerup") click(...place(event));
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
}
