// The two charts, drawn by uPlot. Colors come from the style sheet, so light and dark mode need no second set.
/* global uPlot */
import { lanes } from './series.js';

const HEIGHT = 240;
/** The height of the name of a mark. */
const LANE = 13;
const GB = 1e9;
export const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
/** @param {string} name */
export const color = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** Curves with steps. uPlot's types allow builds without them. */
export const stepped = () => uPlot.paths.stepped?.({ align: 1 });
/** @param {number} at */
const utc = (at) => uPlot.tzDate(new Date(at * 1000), 'Etc/UTC');
const stamp = uPlot.fmtDate('{D} {MMM} {HH}:{mm}');
/** @param {string} unit @param {number} digits @returns {(plot: uPlot, value: number | null) => string} */
const withUnit = (unit, digits) => (_, value) => (value == null ? '–' : `${value.toFixed(digits)} ${unit}`);

/** A color that lets others through. @param {string} name @param {string} alpha */
export const soft = (name, alpha) => () => `${color(name)()}${alpha}`;
/** @param {string} label @param {string} stroke @param {(plot: uPlot, value: number | null, series: number, index: number | null) => string} value @param {uPlot.Series} [more] @returns {uPlot.Series} */
export const line = (label, stroke, value, more) => ({ label, stroke: color(stroke), width: 1.5, points: { show: false }, value, ...more });

/** @type {uPlot.Series} */
const time = { label: 'UTC', value: (_, at) => (at == null ? '' : stamp(utc(at))) };

/** @param {uPlot.Axis} more @returns {uPlot.Axis} */
export function axis(more) {
  const faint = { stroke: color('--line'), width: 1 };
  return { stroke: color('--muted'), font: FONT, grid: faint, ticks: { ...faint, size: 5 }, ...more };
}

/** Shows the day where it changes, and hours in between, on a 24-hour clock. */
const timeAxis = () => axis({
  size: 42,
  space: 64,
  values: [
    [86400, '{D} {MMM}', null, null, null, null, null, null, 1],
    [3600, '{HH}:{mm}', '\n{D} {MMM}', null, '\n{D} {MMM}', null, null, null, 1],
    [60, '{HH}:{mm}', '\n{D} {MMM}', null, '\n{D} {MMM}', null, null, null, 1],
    [1, '{HH}:{mm}:{ss}', '\n{D} {MMM}', null, '\n{D} {MMM}', null, null, null, 1],
  ],
});

/** Columns as uPlot's type wants them: a tuple, which `map` does not return. @param {(number | null)[][]} data The x values come first. */
const aligned = (data) => /** @type {uPlot.AlignedData} */ (data);

/** A chart as wide as its `element`. It is redrawn when the colors change. */
export class Plot {
  /** @param {HTMLElement} element @param {Partial<uPlot.Options> & {series: uPlot.Series[]}} options */
  constructor(element, { height = HEIGHT, ...options }) {
    const size = () => ({ width: Math.max(240, element.clientWidth), height });
    /** @type {number[][]} */
    const empty = options.series.map(() => []);
    /** @type {(plot: uPlot, index: number) => 'dashed' | 'solid'} */
    const dash = ({ series }, index) => (series[index].dash ? 'dashed' : 'solid');
    const legend = { markers: { dash } };
    this.plot = new uPlot({ ...size(), tzDate: utc, padding: [10, 8, 0, 0], legend, ...options }, aligned(empty), element);
    this.element = element;
    element.addEventListener('keydown', (event) => this.#move(event));
    new ResizeObserver(() => this.plot.setSize(size())).observe(element);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#recolor());
  }

  /** The chart reads its colors at every draw. The swatches in the legend keep theirs, so they are set here. */
  #recolor() {
    this.plot.redraw(false, true);
    /** @type {NodeListOf<HTMLElement>} */
    const swatches = this.element.querySelectorAll('.u-legend .u-marker');
    swatches.forEach((swatch, index) => {
      if (index === 0) return; // the x axis has no swatch
      const { stroke, fill } = this.plot.series[index];
      /** Our colors are functions, and uPlot makes one of a missing fill. @param {uPlot.Series.Stroke | undefined} style */
      const painted = (style) => (typeof style === 'function' ? String(style(this.plot, index) ?? '') : '');
      swatch.style.borderColor = painted(stroke);
      swatch.style.background = painted(fill);
    });
  }

  /** @param {(number | null)[][]} data The x values come first. @param {string} label The same in words, for screen readers. */
  show(data, label) {
    this.element.setAttribute('aria-label', label);
    this.element.setAttribute('aria-valuemax', String(Math.max(0, data[0].length - 1)));
    this.plot.setData(aligned(data));
  }

  /** Moves the cursor from point to point, whose values the legend and screen readers have. @param {KeyboardEvent} event */
  #move(event) {
    const { plot, element } = this;
    const last = plot.data[0].length - 1;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -12, PageDown: 12, Home: -Infinity, End: Infinity }[event.key];
    if (!step || last < 0) return;
    event.preventDefault();
    const index = Math.min(last, Math.max(0, (plot.cursor.idx ?? last) + step));
    plot.setCursor({ left: plot.valToPos(plot.data[0][index], 'x'), top: plot.over.clientHeight / 2 });
    const values = [...element.querySelectorAll('.u-legend tr:not(.u-off)')].map(({ children: [name, value] }) => `${name.textContent} ${value.textContent}`);
    element.setAttribute('aria-valuenow', String(index));
    element.setAttribute('aria-valuetext', values.join(', '));
  }
}

/** Usage over the period: what is known, dashed where only the sum is, forecast and limit. */
export class UsagePlot extends Plot {
  /** @type {number | null} */
  asOf = null;
  /** @type {import('./series.js').Stretch[]} */
  unknown = [];

  /** @param {HTMLElement} element */
  constructor(element) {
    const gb = withUnit('GB', 2);
    /** @type {uPlot.Axis.DynamicValues} */
    const gbTicks = (_, ticks) => ticks.map((tick) => String(+tick.toPrecision(6)));
    super(element, {
      scales: { y: { range: (_, __, most) => [0, (most || 1) * 1.06] } },
      axes: [timeAxis(), axis({ size: 56, values: gbTicks, label: 'GB', labelSize: 18, labelFont: FONT })],
      series: [
        time,
        line('used', '--accent', gb, { width: 2.5, fill: soft('--accent', '1f') }),
        line('no record, only the sum', '--muted', gb, { width: 2, dash: [3, 5] }),
        line('forecast', '--accent', gb, { dash: [8, 5] }),
        line('limit', '--ink', gb),
      ],
      hooks: { draw: [(plot) => this.drawUnknown(plot), (plot) => this.drawAsOf(plot)] },
    });
  }

  /** @param {ReturnType<import('./series.js').curves>} curves @param {{asOf: number | null, unknown: import('./series.js').Stretch[]}} marks @param {string} label */
  update({ x, used, dashed, expected, limit }, { asOf, unknown }, label) {
    Object.assign(this, { asOf, unknown });
    /** @param {(number | null)[]} values */
    const gb = (values) => values.map((value) => (value === null ? null : value / GB));
    this.show([x, gb(used), gb(dashed), gb(expected), gb(limit)], label);
    const isDashed = dashed.some((value) => value !== null);
    if (this.plot.series[2].show !== isDashed) this.plot.setSeries(2, { show: isDashed });
  }

  /** Shades and names the stretches without a record. @param {uPlot} plot */
  drawUnknown({ ctx, bbox, valToPos }) {
    const scale = devicePixelRatio;
    ctx.save();
    ctx.font = FONT.replace('12px', `${11 * scale}px`);
    ctx.textAlign = 'center';
    for (const { from, to } of this.unknown) {
      const [left, right] = [valToPos(from, 'x', true), valToPos(to, 'x', true)];
      ctx.fillStyle = soft('--muted', '22')();
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
      ctx.fillStyle = color('--muted')();
      if (right - left > 30 * scale) ctx.fillText('no record', (left + right) / 2, bbox.top + 34 * scale);
    }
    ctx.restore();
  }

  /** Marks the end of the latest reading. @param {uPlot} plot */
  drawAsOf(plot) {
    if (this.asOf) drawMarks(plot, [{ at: this.asOf, text: 'measured to here' }], plot.bbox.height / devicePixelRatio - 8);
  }
}

/** Dashed lines with their names. A name without room is in the table alone. @param {uPlot} plot @param {import('./series.js').Mark[]} marks @param {number} [first] The first name's foot below the top. */
function drawMarks({ ctx, bbox, valToPos }, marks, first = 12) {
  const scale = devicePixelRatio;
  const [right, lane] = [bbox.left + bbox.width, LANE * scale];
  ctx.save();
  ctx.font = FONT.replace('12px', `${11 * scale}px`);
  ctx.strokeStyle = ctx.fillStyle = color('--muted')();
  ctx.lineWidth = scale;
  ctx.setLineDash([3 * scale, 3 * scale]);
  const names = marks.map(({ at, text }) => {
    const [x, { width }] = [Math.round(valToPos(at, 'x', true)), ctx.measureText(text)];
    const left = x > bbox.left + bbox.width / 2 ? x - width - 6 * scale : x + 6 * scale;
    return { text, x, left, right: left + width };
  }).filter(({ x }) => x >= bbox.left && x <= right);
  const places = lanes(names, Math.floor(bbox.height / lane));
  names.forEach(({ text, x, left }, nth) => {
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    if (places[nth] >= 0) ctx.fillText(text, left, bbox.top + places[nth] * lane + first * scale);
  });
  ctx.restore();
}

/** Average rate and live credentials, with marks where something happened. */
export class RatePlot extends Plot {
  /** @type {import('./series.js').Mark[]} */
  marks = [];

  /** @param {HTMLElement} element */
  constructor(element) {
    /** @type {uPlot.Axis.DynamicValues} */
    const whole = (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? String(tick) : ''));
    /** @type {(least: number) => uPlot.Range.Function} */
    const fromZero = (least) => (_, __, most) => [0, Math.max(least, most * 1.12)];
    super(element, {
      // Just after a reset there is one step, from which alone uPlot would make an axis of years.
      scales: { x: { range: (_, from, to) => [from, from === null ? to : Math.max(to, from + 300)] }, y: { range: fromZero(0.1) }, live: { range: fromZero(4) } },
      axes: [
        timeAxis(),
        axis({ size: 50, label: 'Mbps', labelSize: 18, labelFont: FONT }),
        axis({ scale: 'live', side: 1, size: 44, values: whole, grid: { show: false }, label: 'credentials', labelSize: 18, labelFont: FONT }),
      ],
      series: [
        time,
        line('average rate', '--accent', withUnit('Mbps', 2), { fill: soft('--accent', '2e'), paths: stepped() }),
        line('live credentials', '--second', (_, value) => (value == null ? '–' : String(value)), { scale: 'live', paths: stepped() }),
      ],
      hooks: { draw: [(plot) => drawMarks(plot, this.marks)] },
    });
  }

  /** @param {ReturnType<import('./series.js').rates>} rates @param {import('./series.js').Mark[]} marks @param {string} label */
  update({ x, mbps, live }, marks, label) {
    this.marks = marks;
    this.show([x, mbps, live], label);
  }
}
