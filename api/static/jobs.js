// The pages of jobs: rows that follow the server's events, one job that is polled, and buttons that post.
const POLL_TABLE_MS = 3000;
const POLL_JOB_MS = 2000;
const OPEN_STATES = ['queued', 'running'];
const FILTERS = ['kind', 'state', 'study'];
// What the page sends by itself keeps no session alive. A page that loads itself again can only say so in a cookie.
const AUTOMATIC_HEADERS = { Accept: 'application/json', 'X-Minipacs-Automatic': '1' };
const JSON_HEADERS = { Accept: 'application/json' };

const table = document.getElementById('jobs');
const watchedJob = document.querySelector('[data-watched-state]');

// Whether a job without a row belongs to the first page of the list that the page's address asks for.
function belongsInList(job) {
  const query = new URLSearchParams(location.search);
  if (query.has('before')) return false;

  const ids = [...table.querySelectorAll('[data-job]')].map(row => Number(row.dataset.job));
  const isNewest = job.id > Math.max(0, ...ids);
  return isNewest && FILTERS.every(name => !query.get(name) || query.get(name) === job[name]);
}

function markNextLoadAutomatic(seconds) {
  // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API is not there without HTTPS
  document.cookie = `minipacs_automatic=1; path=/; samesite=strict; max-age=${seconds}`;
}

function reloadAutomatically() {
  markNextLoadAutomatic(10);
  location.reload();
}

function describeTime(job) {
  if (job.elapsed_s === null) return '';
  return job.left_s ? `${job.elapsed_s} s (${job.left_s} s left)` : `${job.elapsed_s} s`;
}

// Write a job into its row. A new job, or one that has begun or ended, changes more than its row: reload.
function updateRow(job) {
  const row = table.querySelector(`[data-job="${job.id}"]`);
  if (!row) {
    if (belongsInList(job)) reloadAutomatically();
    return;
  }

  const field = name => row.querySelector(`[data-field="${name}"]`);
  const previousState = field('state').textContent;
  field('state').textContent = job.state;
  field('state').className = `badge ${job.state}`;
  field('summary').textContent = job.error ? job.error.message : job.summary;
  field('elapsed').textContent = describeTime(job);

  const bar = row.querySelector('progress');
  if (job.percent === null && job.state === 'running') bar.removeAttribute('value');
  else bar.value = job.percent ?? 0;

  if (OPEN_STATES.includes(previousState) !== OPEN_STATES.includes(job.state)) reloadAutomatically();
}

async function pollTable() {
  try {
    const response = await fetch(`/jobs${location.search}`, { headers: AUTOMATIC_HEADERS });
    if (response.ok) (await response.json()).jobs.forEach(updateRow);
  } finally {
    setTimeout(pollTable, POLL_TABLE_MS);
  }
}

// Follow the server's events; poll when it refuses them.
function followTable() {
  const events = new EventSource(table.dataset.events);
  events.addEventListener('job', event => updateRow(JSON.parse(event.data)));
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) pollTable();
  };
}

function showWatchedJob(job) {
  const stage = job.stage || '–';
  document.getElementById('stage').textContent = job.percent === null ? stage : `${stage} · ${job.percent} %`;

  const elapsed = job.elapsed_s === null ? '–' : `${job.elapsed_s} s`;
  const hasEstimate = job.elapsed_s !== null && job.left_s !== null;
  document.getElementById('time').textContent = hasEstimate ? `${elapsed}, about ${job.left_s} s left` : elapsed;
}

// Show the stage and the time of one job as they change; reload the page when its state changes.
async function pollWatchedJob() {
  const response = await fetch(location.pathname, { headers: AUTOMATIC_HEADERS }).catch(() => null);
  const job = response?.ok ? await response.json() : null;

  if (job && job.state !== watchedJob.dataset.watchedState) return reloadAutomatically();
  if (job) showWatchedJob(job);
  setTimeout(pollWatchedJob, POLL_JOB_MS);
}

async function postFor(button) {
  button.disabled = true;
  const response = await fetch(button.dataset.post, { method: 'POST', headers: JSON_HEADERS });
  if (!response.ok) alert((await response.json()).error.message);
  location.reload();
}

markNextLoadAutomatic(0);
if (table) followTable();
if (watchedJob) setTimeout(pollWatchedJob, POLL_JOB_MS);
for (const button of document.querySelectorAll('[data-post]')) {
  button.addEventListener('click', () => postFor(button));
}
