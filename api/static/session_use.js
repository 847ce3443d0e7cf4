// Reports a person's use of this page once a minute, and leaves the page when the session has ended: what it shows
// is not for whoever passes by. Pages and the viewer load it.
const REPORT_MS = 60_000;
const RETRY_MS = 60_000;
const LONGEST_TIMER_MS = 2_147_483_647;
const INPUT_EVENTS = ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart'];

let lastReport = 0;
let timer = 0;

// Follow the server's answer: look again when the session would end, or go to the login when it has.
async function follow(request) {
  clearTimeout(timer);
  let wait = RETRY_MS;
  try {
    const response = await request;
    if (response.status === 401)
      return location.replace(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    const { ends_in_s: remaining } = response.ok ? await response.json() : {};
    if (remaining !== undefined && remaining !== null) wait = Math.min(remaining * 1000 + 1000, LONGEST_TIMER_MS);
  } catch {
    // The server does not answer: ask again later.
  }
  clearTimeout(timer);
  timer = setTimeout(checkSession, wait);
}

function checkSession() {
  follow(fetch('/session', { headers: { Accept: 'application/json' } }));
}

function reportUse() {
  if (Date.now() - lastReport < REPORT_MS) return;
  lastReport = Date.now();
  follow(fetch('/session/use', { method: 'POST', headers: { Accept: 'application/json' } }));
}

for (const name of INPUT_EVENTS) addEventListener(name, reportUse, { capture: true, passive: true });
checkSession();
