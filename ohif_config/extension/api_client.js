/** Requests to minipacs' own HTTP API: same origin, same login, JSON both ways. */

/** An answer other than 2xx: `message`, `hint` and `code` as the API's JSON gives them, and the HTTP `status`. */
export class ApiError extends Error {
  constructor(status, { code = '', message, hint = '' }) {
    super(message);
    Object.assign(this, { status, code, hint });
  }
}

/**
 * Send a request and return its JSON answer; `body`, if given, is sent as JSON. Throws an ApiError.
 * `isAutomatic`: nobody's use of the session, but a poll.
 */
export async function requestJson(path, { method = 'GET', body, signal, isAutomatic = false } = {}) {
  const headers = { Accept: 'application/json' };
  if (isAutomatic) headers['X-Minipacs-Automatic'] = '1';
  if (body !== undefined) headers['Content-Type'] = 'application/json';

  const response = await fetch(path, {
    method,
    headers,
    signal,
    credentials: 'same-origin',
    body: body === undefined ? undefined : JSON.stringify(body),
  });

  const content = response.status === 204 ? {} : await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new ApiError(response.status, content.error ?? { message: `The server answered ${response.status}.` });
  }
  return content;
}

export const postJson = (path, body = {}) => requestJson(path, { method: 'POST', body });

/** The message and the hint of an error as one text for the user. */
export const errorText = error => [error.message, error.hint].filter(Boolean).join(' ');
