// Uploads with progress and a verdict for each file. Without this script the form works by itself.
const MAX_SHOWN_VERDICTS = 500;

const form = document.getElementById('upload-form');
const status = document.getElementById('status');
const progress = document.getElementById('progress');
const verdicts = document.getElementById('verdicts');
const sendButton = document.getElementById('send');
// The files to send, as pairs of a name with its folders and a File.
let chosenFiles = [];

function chooseFiles(files) {
  chosenFiles = files;
  const bytes = files.reduce((sum, [, file]) => sum + file.size, 0);
  status.textContent = files.length ? `${files.length} files, ${(bytes / 1e6).toFixed(1)} MB` : '';
}

// All files of a dropped file or folder, as pairs of name and File.
async function listFiles(entry, path = '') {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [[path + entry.name, file]];
  }

  const reader = entry.createReader();
  const files = [];
  for (;;) {
    // A reader returns the entries of a folder in parts, the last of which is empty.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return files;
    for (const one of entries) files.push(...(await listFiles(one, `${path}${entry.name}/`)));
  }
}

function handleDrag(event) {
  event.preventDefault();
  form.classList.toggle('dragged-over', event.type === 'dragenter' || event.type === 'dragover');
}

async function handleDrop(event) {
  const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry()).filter(Boolean);
  const files = await Promise.all(entries.map(entry => listFiles(entry)));
  chooseFiles(files.flat());
}

function addBadge(cell, text, className) {
  const badge = document.createElement('span');
  badge.className = `badge ${className}`;
  badge.textContent = text;
  cell.append(badge);
}

function createVerdictTable(files) {
  const table = document.createElement('table');
  const sorted = [...files].sort((a, b) => a.verdict.localeCompare(b.verdict));

  for (const file of sorted.slice(0, MAX_SHOWN_VERDICTS)) {
    const row = table.insertRow();
    row.insertCell().textContent = file.name;
    addBadge(row.insertCell(), file.verdict, file.verdict === 'stored' ? 'done' : 'failed');
    row.insertCell().textContent = file.reason;
  }
  return table;
}

function showVerdicts({ stored, refused, studies, files }) {
  const summary = document.createElement('p');
  summary.textContent = `${stored} stored, ${refused} refused. `;

  for (const study of studies) {
    const link = document.createElement('a');
    link.href = `/jobs?study=${study}`;
    link.textContent = 'See the work on the study';
    summary.append(link, ' ');
  }
  verdicts.replaceChildren(summary, createVerdictTable(files));
}

function showProgress({ loaded, total }) {
  progress.value = (100 * loaded) / total;
  status.textContent = loaded < total ? `${Math.round(progress.value)} % sent` : 'sent; being stored…';
}

function showAnswer(answer) {
  progress.hidden = true;
  sendButton.disabled = false;
  status.textContent = answer?.error ? `${answer.error.message} ${answer.error.hint}` : '';
  if (answer?.files) showVerdicts(answer);
}

function createBody() {
  const body = new FormData();
  for (const [name, file] of chosenFiles) body.append('file', file, name);
  body.append('modality', document.getElementById('modality').value);
  const group = document.getElementById('group');
  if (group) body.append('group', group.value);
  return body;
}

// XMLHttpRequest, because fetch does not report the progress of an upload.
function send() {
  const request = new XMLHttpRequest();
  request.open('POST', '/upload');
  request.setRequestHeader('Accept', 'application/json');
  request.responseType = 'json';

  request.upload.addEventListener('progress', showProgress);
  request.addEventListener('load', () => showAnswer(request.response));
  request.addEventListener('error', () => {
    status.textContent = 'The connection broke. Nothing was stored; try again.';
  });

  progress.hidden = false;
  sendButton.disabled = true;
  request.send(createBody());
}

for (const id of ['files', 'folder']) {
  const input = document.getElementById(id);
  input.addEventListener('change', () => {
    chooseFiles([...input.files].map(file => [file.webkitRelativePath || file.name, file]));
  });
}
for (const type of ['dragenter', 'dragover', 'dragleave', 'drop']) form.addEventListener(type, handleDrag);
form.addEventListener('drop', handleDrop);
form.addEventListener('submit', event => {
  event.preventDefault();
  if (chosenFiles.length) send();
  else status.textContent = 'Choose files first.';
});
