// The relay check. The user starts each check, because each one is a mint.
import { findings, outcome } from './findings.js';
import { attempts, gatherAll, hasEnded, secondsMax } from './gather.js';
import { $, copy, element, load } from './page.js';
import { answerRows, candidateWords, errorLines, progressLine, progressWord, report } from './report.js';

const TTL_SECONDS = 300;
const startButton = $('start', HTMLButtonElement);
const reportField = $('report', HTMLTextAreaElement);

/** @returns {Promise<import('./findings.js').Answer>} */
async function mint() {
  const answer = await credentials(`?ttl=${TTL_SECONDS}`);
  // TURN_TTL_SECONDS may be shorter than that.
  return answer.status === 400 ? credentials('') : answer;
}

/** @param {string} query @returns {Promise<import('./findings.js').Answer>} */
async function credentials(query) {
  try {
    const answer = await load(`api/turn-credentials${query}`);
    const body = await answer.json();
    const wait = answer.headers.get('retry-after');
    return { status: answer.status, body: wait ? { ...body, retryAfter: Number(wait) } : body };
  } catch {
    return { status: 0, body: null };
  }
}

async function check() {
  startButton.disabled = true;
  for (const id of ['findings-card', 'servers-card', 'answer-card', 'report-card']) $(id).hidden = true;
  $('progress').textContent = 'fetching credentials …';
  const answer = await mint();
  showAnswer(answer);
  const all = answer.status === 200 ? attempts(answer.body?.iceServers ?? []) : [];
  const tried = all.map(({ attempt }) => attempt);
  if (all.length) await test(all, tried);
  const found = findings(answer, tried);
  showFindings(found);
  showReport(report(answer, tried, found, { at: new Date(), page: location.origin, agent: navigator.userAgent }));
  $('progress').textContent = 'done';
  startButton.textContent = 'Check again';
  startButton.disabled = false;
}

/** @param {import('./findings.js').Answer} answer */
function showAnswer(answer) {
  const rows = answerRows(answer).flatMap(([name, value]) => [element('dt', { textContent: name }), element('dd', { textContent: value })]);
  $('answer').replaceChildren(...rows);
  $('answer-card').hidden = false;
}

/** Each row shows how far its test is. @param {import('./gather.js').Planned[]} all @param {import('./gather.js').Attempt[]} tried */
async function test(all, tried) {
  const rows = new Map(tried.map((attempt) => [attempt, serverRow(attempt)]));
  $('servers').replaceChildren(...[...rows.values()].map(({ row }) => row));
  $('servers-card').hidden = false;
  $('progress').textContent = `testing ${all.length} server${all.length === 1 ? '' : 's'}, up to ${secondsMax(all.length)} s …`;
  const ticks = setInterval(() => rows.forEach(({ update }) => update()), 1000);
  await gatherAll(all, (attempt) => {
    rows.get(attempt)?.update();
    if (hasEnded(attempt)) $('progress').textContent = progressLine(tried, attempt);
  });
  clearInterval(ticks);
}

/** A row of the table. An update changes only the cells whose text changes, so that a selection stays. @param {import('./gather.js').Attempt} attempt */
function serverRow(attempt) {
  const mark = element('span', {});
  const [candidates, errors] = [element('ul', {}), element('ul', {})];
  const row = element('tr', {}, element('td', { className: 'code', textContent: attempt.url }), element('td', {}, mark), element('td', {}, candidates), element('td', {}, errors));
  const update = () => {
    const word = progressWord(attempt, performance.now());
    if (mark.textContent !== word) mark.textContent = word;
    mark.className = `mark ${outcome(attempt).mark} ${hasEnded(attempt) ? '' : attempt.state}`.trim();
    showLines(candidates, attempt.candidates.map(candidateWords));
    showLines(errors, errorLines(attempt));
  };
  update();
  return { row, update };
}

/** @param {HTMLElement} list @param {string[]} lines */
function showLines(list, lines) {
  const shown = [...list.children].map(({ textContent }) => textContent);
  if (shown.join('\n') !== lines.join('\n')) list.replaceChildren(...lines.map((textContent) => element('li', { textContent })));
}

/** @param {import('./findings.js').Finding[]} found */
function showFindings(found) {
  $('findings').replaceChildren(...found.map(({ mark, title, text }) =>
    element('p', { className: `note ${mark}` }, element('b', { textContent: title }), text)));
  $('findings-card').hidden = false;
}

/** @param {string} text */
function showReport(text) {
  reportField.value = text;
  reportField.rows = Math.min(40, text.split('\n').length + 2);
  $('copy').textContent = 'Copy';
  $('report-card').hidden = false;
}

$('copy').addEventListener('click', async () => {
  $('copy').textContent = await copy(reportField.value, () => reportField.select());
});
startButton.addEventListener('click', check);
