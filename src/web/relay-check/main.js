// The relay check. The user starts each check, because each one is a mint.
import { findings, outcome } from './findings.js';
import { attempts, gather } from './gather.js';
import { $, copy, element, load } from './page.js';
import { answerRows, candidateWords, errorLines, report } from './report.js';

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
  showServers(tried);
  if (all.length) $('progress').textContent = `testing ${all.length} server${all.length === 1 ? '' : 's'}, up to 15 s …`;
  await Promise.all(all.map((one) => gather(one, () => showServers(tried))));
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

/** @param {import('./gather.js').Attempt[]} tried */
function showServers(tried) {
  $('servers-card').hidden = tried.length === 0;
  $('servers').replaceChildren(...tried.map((attempt) => {
    const { mark, word } = outcome(attempt);
    const list = (/** @type {string[]} */ words) => element('ul', {}, ...words.map((text) => element('li', { textContent: text })));
    return element('tr', {},
      element('td', { className: 'code', textContent: attempt.url }),
      element('td', {}, element('span', { className: `mark ${mark}`, textContent: word })),
      element('td', {}, list(attempt.candidates.map(candidateWords))),
      element('td', {}, list(errorLines(attempt))));
  }));
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
