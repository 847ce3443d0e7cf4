// Send with progress; show a verdict for each file. Without this script the form works by itself.
const form = document.getElementById("drop");
const word = document.getElementById("word");
const bar = document.getElementById("progress");
const verdicts = document.getElementById("verdicts");
let chosen = [];

function choose(files) {
  chosen = files;
  const size = files.reduce((sum, [, file]) => sum + file.size, 0);
  word.textContent = files.length ? `${files.length} files, ${(size / 1e6).toFixed(1)} MB` : "";
}
for (const id of ["files", "folder"]) {
  const input = document.getElementById(id);
  input.addEventListener("change", () => choose([...input.files].map((file) => [file.webkitRelativePath || file.name, file])));
}

async function walk(entry, path = "") {
  if (entry.isFile) return [[path + entry.name, await new Promise((ok, no) => entry.file(ok, no))]];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((ok, no) => reader.readEntries(ok, no));
    if (!some.length) return found;
    for (const one of some) found.push(...(await walk(one, `${path}${entry.name}/`)));
  }
}
for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
  form.addEventListener(kind, (event) => {
    event.preventDefault();
    form.classList.toggle("over", kind === "dragenter" || kind === "dragover");
  });
form.addEventListener("drop", async (event) => {
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  choose((await Promise.all(entries.map((entry) => walk(entry)))).flat());
});

function cell(row, text, badge) {
  const td = row.insertCell();
  if (!badge) return void (td.textContent = text);
  const span = document.createElement("span");
  span.className = `badge ${badge}`;
  span.textContent = text;
  td.append(span);
}
function show(answer) {
  verdicts.replaceChildren();
  const p = document.createElement("p");
  p.textContent = `${answer.stored} stored, ${answer.refused} refused. `;
  for (const study of answer.studies) {
    const a = document.createElement("a");
    a.href = `/jobs?study=${study}`;
    a.textContent = "See the work on the study";
    p.append(a, " ");
  }
  const table = document.createElement("table");
  const shown = [...answer.files].sort((a, b) => a.verdict.localeCompare(b.verdict)).slice(0, 500);
  for (const file of shown) {
    const row = table.insertRow();
    cell(row, file.name);
    cell(row, file.verdict, file.verdict === "stored" ? "done" : "failed");
    cell(row, file.reason);
  }
  verdicts.append(p, table);
}
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!chosen.length) return void (word.textContent = "Choose files first.");
  const body = new FormData();
  for (const [name, file] of chosen) body.append("file", file, name);
  body.append("modality", document.getElementById("modality").value);
  const request = new XMLHttpRequest();
  request.open("POST", "/upload");
  request.setRequestHeader("Accept", "application/json");
  request.responseType = "json";
  bar.hidden = false;
  request.upload.addEventListener("progress", (e) => {
    bar.value = (100 * e.loaded) / e.total;
    word.textContent = e.loaded < e.total ? `${Math.round(bar.value)} % sent` : "sent; being stored…";
  });
  request.addEventListener("load", () => {
    bar.hidden = true;
    document.getElementById("send").disabled = false;
    const answer = request.response;
    word.textContent = answer?.error ? `${answer.error.message} ${answer.error.hint}` : "";
    if (answer?.files) show(answer);
  });
  request.addEventListener("error", () => (word.textContent = "The connection broke. Nothing was stored; try again."));
  document.getElementById("send").disabled = true;
  request.send(body);
});
