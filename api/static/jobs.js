// Live rows by server-sent events; when they fail, ask every few seconds. Buttons post.
const table = document.getElementById("jobs");

function show(job) {
  const row = table?.querySelector(`[data-job="${job.id}"]`);
  if (!row) {
    const newest = Math.max(0, ...[...table.querySelectorAll("[data-job]")].map((r) => Number(r.dataset.job)));
    const wanted = new URLSearchParams(location.search);
    const fits = ["kind", "state", "study"].every((name) => !wanted.get(name) || wanted.get(name) === job[name]);
    if (job.id > newest && fits && !wanted.has("before")) location.reload();
    return;
  }
  const field = (name) => row.querySelector(`[data-field="${name}"]`);
  const before = field("state").textContent;
  field("state").textContent = job.state;
  field("state").className = `badge ${job.state}`;
  field("what").textContent = job.error ? job.error.message : job.summary;
  field("elapsed").textContent = job.elapsed_s === null ? "" : `${job.elapsed_s} s` + (job.left_s ? ` (${job.left_s} s left)` : "");
  const bar = row.querySelector("progress");
  if (job.percent === null && job.state === "running") bar.removeAttribute("value");
  else bar.value = job.percent ?? 0;
  const open = ["queued", "running"];
  if (open.includes(before) !== open.includes(job.state)) location.reload();
}

async function poll() {
  try {
    const answer = await fetch("/jobs" + location.search, { headers: { Accept: "application/json" } });
    if (answer.ok) (await answer.json()).jobs.forEach(show);
  } finally {
    setTimeout(poll, 3000);
  }
}

if (table) {
  const events = new EventSource(table.dataset.live);
  events.addEventListener("job", (event) => show(JSON.parse(event.data)));
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) poll();
  };
}

// The page of one job: its stage, its percentage and its time as they change; the whole page when it ends.
const one = document.querySelector("[data-watch]");
if (one) {
  const watch = async () => {
    const answer = await fetch(location.pathname, { headers: { Accept: "application/json" } }).catch(() => null);
    const job = answer?.ok ? await answer.json() : null;
    if (job && job.state !== one.dataset.watch) return location.reload();
    if (job) {
      document.getElementById("stage").textContent = (job.stage || "–") + (job.percent === null ? "" : ` · ${job.percent} %`);
      document.getElementById("time").textContent =
        job.elapsed_s === null ? "–" : `${job.elapsed_s} s` + (job.left_s === null ? "" : `, about ${job.left_s} s left`);
    }
    setTimeout(watch, 2000);
  };
  setTimeout(watch, 2000);
}

for (const button of document.querySelectorAll("[data-post]")) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    const answer = await fetch(button.dataset.post, { method: "POST", headers: { Accept: "application/json" } });
    if (!answer.ok) alert((await answer.json()).error.message);
    location.reload();
  });
}
