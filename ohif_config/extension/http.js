/** The front door: same origin, same login. Errors are its one JSON shape, as exceptions with `hint` and `status`. */

export class Refused extends Error {
  constructor(status, { code = '', message, hint = '' }) {
    super(message);
    Object.assign(this, { status, code, hint });
  }
}

/** Ask and get JSON. `body`, if there is one, is sent as JSON. */
export async function ask(path, { method = 'GET', body, signal } = {}) {
  const headers = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const answer = await fetch(path, {
    method,
    headers,
    signal,
    credentials: 'same-origin',
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const told = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const error = told.error ?? { message: `The server answered ${answer.status}.` };
    throw new Refused(answer.status, error);
  }
  return told;
}

export const post = (path, body = {}) => ask(path, { method: 'POST', body });
