// The chart of usage, worst case and limit, and of the part of the worst case that is past the limit. Time starts at the first
// figure. Each event is a vertical line, with a word above the chart if there is room.
import { FONT, Plot, axis, color, line, soft, stepped } from '../dashboard/plots.js';
import { placed } from './words.js';

/** Half an hour at one per second. Then the oldest points are removed. */
const POINTS_MAX = 1_800;
/** The shortest time axis. It keeps the scale the same in the first two minutes. */
const SECONDS_MIN = 120;
const MARKS_MAX = 60;
/** Rows of words above the chart. */
const ROWS = 2;
const ROW_HEIGHT = 14;
const HEIGHT = 190;
const MB = 1e6;

/** @param {number} seconds */
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.round(seconds) % 60).padStart(2, '0')}`;
/** @type {(plot: uPlot, value: number | null) => string} */
const inMb = (_, value) => (value == null ? '–' : `${value.toFixed(1)} MB`);

export class BudgetPlot extends Plot {
  /** @type {(number | null)[][]} */
  #columns = [[], [], [], [], []];
  /** @type {{seconds: number, text: string}[]} */
  #marks = [];
  /** @type {Date | null} */
  #startedAt = null;

  /** @param {HTMLElement} element */
  constructor(element) {
    super(element, {
      height: HEIGHT,
      padding: [6 + ROWS * ROW_HEIGHT, 20, 0, 0],
      scales: {
        x: { time: false, range: (_, from, to) => [from ?? 0, Math.max(to ?? 0, (from ?? 0) + SECONDS_MIN)] },
        y: { range: (_, __, most) => [0, (most || 1) * 1.1] },
      },
      axes: [
        axis({ size: 34, space: 56, incrs: [5, 10, 15, 30, 60, 120, 300, 600], values: (_, ticks) => ticks.map(clock) }),
        axis({ size: 56, label: 'MB', labelSize: 18, labelFont: FONT }),
      ],
      series: [
        { label: 'at', value: (_, seconds) => (seconds == null ? '' : clock(seconds)) },
        line('used', '--accent', inMb, { width: 2.5, fill: soft('--accent', '2b') }),
        line('worst case', '--second', inMb, { dash: [6, 4], paths: stepped() }),
        line('limit', '--ink', inMb, { paths: stepped() }),
        line('past the limit', '--bad', (plot, _, __, index) => this.#past(index), { width: 0, paths: stepped() }),
      ],
      bands: [{ series: [4, 3], fill: soft('--bad', '3d') }],
      hooks: { draw: [(plot) => this.#drawMarks(plot)] },
    });
  }

  /** @param {number | null} index */
  #past(index) {
    const at = index ?? this.#columns[0].length - 1;
    const [, , worst, limit] = this.#columns.map((column) => column[at]);
    return worst == null || limit == null ? '–' : `${Math.max(0, worst - limit).toFixed(1)} MB`;
  }

  /** @param {Date} at @param {{used: number, committed: number, limit: number}} bytes */
  add(at, { used, committed, limit }) {
    this.#startedAt ??= at;
    const past = committed > limit ? committed / MB : null;
    [this.#seconds(at), used / MB, committed / MB, limit / MB, past].forEach((value, index) => this.#columns[index].push(value));
    if (this.#columns[0].length > POINTS_MAX) this.#columns.forEach((column) => column.shift());
    const words = `${(used / MB).toFixed(1)} MB used, ${(committed / MB).toFixed(1)} MB in the worst case, limit ${(limit / MB).toFixed(0)} MB`;
    this.show(this.#columns, words);
    const { idx } = this.plot.cursor;
    if (idx == null) this.plot.setLegend({ idx: this.#columns[0].length - 1 });
  }

  /** Adds an event. @param {Date} at @param {string} text */
  mark(at, text) {
    if (this.#startedAt) this.#marks = [...this.#marks, { seconds: this.#seconds(at), text }].slice(-MARKS_MAX);
  }

  /** @param {Date} at */
  #seconds(at) {
    return (at.getTime() - (this.#startedAt ?? at).getTime()) / 1_000;
  }

  /** @param {uPlot} plot */
  #drawMarks({ ctx, bbox }) {
    const scale = devicePixelRatio;
    ctx.save();
    ctx.lineWidth = scale;
    ctx.font = FONT.replace('12px', `${11 * scale}px`);
    ctx.strokeStyle = color('--line')();
    ctx.fillStyle = color('--muted')();
    const right = bbox.left + bbox.width;
    const words = this.#marks
      .map(({ seconds, text }) => ({ x: Math.round(this.plot.valToPos(seconds, 'x', true)), width: text ? ctx.measureText(text).width + 10 * scale : 0, text }))
      .filter(({ x }) => x >= bbox.left && x <= right);
    placed(words, { right, rows: ROWS }).forEach((place, index) => {
      const { x, text } = words[index];
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      if (!place) return;
      ctx.textAlign = place.isLeft ? 'right' : 'left';
      ctx.fillText(text, x, bbox.top - (6 + ROW_HEIGHT * place.row) * scale);
    });
    ctx.restore();
  }
}
