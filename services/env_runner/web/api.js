// The env-runner's public HTTP interface, used as by any other client.

import { saveFile } from "./dom.js";

const KEY = "waymark-key";
const FIRST_PAUSE = 500; // ms before a broken stream of events is opened again; doubled each time
const LONGEST_PAUSE = 10_000;

/** An answer that is not a success, with the text of its problem document. */
export class Refused extends Error {
  constructor(status, detail, errors = []) {
    super(detail);
    this.status = status;
    this.errors = errors; // [{field, message}]
  }
}

/** The service needs an API key, or refused the one that it got. */
export class KeyNeeded extends Error {
  constructor(refused) {
    super(refused ? "This API key is not valid." : "This service needs an API key.");
  }
}

/** The env-runner cannot be reached. */
export class Unreachable extends Error {
  constructor() {
    super("The env-runner does not answer.");
  }
}

/** Whether the same request may succeed later. */
export const isTemporary = (error) => error instanceof Unreachable || error.status >= 500;

/** The API key: kept for this tab only, until it is closed. */
export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

async function request(path, { method = "GET", headers = {}, signal, body } = {}) {
  const apiKey = key.get();
  const allHeaders = {
    ...headers,
    ...(apiKey && { authorization: `Bearer ${apiKey}` }),
    ...(body !== undefined && { "content-type": "application/json" }),
  };
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: allHeaders,
      signal,
      cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable();
  }
  if (response.ok) return response;
  if (response.status === 401) throw new KeyNeeded(apiKey !== null);
  const problem = await response.json().catch(() => ({}));
  throw new Refused(response.status, problem.detail ?? `The env-runner answered ${response.status}.`, problem.errors);
}

const EVALUATIONS = "v1/evaluations";
const evaluationPath = (id) => `${EVALUATIONS}/${encodeURIComponent(id)}`;
const episodePath = (id, episode) => `${evaluationPath(id)}/episodes/${encodeURIComponent(episode)}`;
const notesPath = (id) => `v1/runs/${encodeURIComponent(id)}/notes`;
const json = async (path, options) => (await request(path, options)).json();

export const api = {
  runs: (signal) => json("v1/runs", { signal }),
  failures: (id, signal) => json(`${evaluationPath(id)}/failures`, { signal }),
  notes: (id, signal) => json(notesPath(id), { signal }),
  writeNotes: (id, notes) => json(notesPath(id), { method: "PUT", body: notes }),
  worlds: (signal) => json("v1/worlds", { signal }),
  options: (signal) => json("v1/options", { signal }),
  submit: (body) => json(EVALUATIONS, { method: "POST", body }),
  comparison: (ids, signal) =>
    json(`v1/comparison?${ids.map((id) => `run=${encodeURIComponent(id)}`).join("&")}`, { signal }),
  turn: (id, episode, turn, signal) => json(`${episodePath(id, episode)}/turns/${turn}`, { signal }),
  elsewhere: (id, episode, signal) => json(`${episodePath(id, episode)}/elsewhere`, { signal }),
  play: {
    begin: (body) => json("v1/play", { method: "POST", body }),
    look: (id, signal) => json(`v1/play/${encodeURIComponent(id)}`, { signal }),
    turn: (id, body) => json(`v1/play/${encodeURIComponent(id)}/turns`, { method: "POST", body }),
    end: (id) => json(`v1/play/${encodeURIComponent(id)}/end`, { method: "POST" }),
  },
  evaluation: (id, signal) => json(evaluationPath(id), { signal }),
  summary: (id, signal) => json(`${evaluationPath(id)}/summary`, { signal }),
  episode: (id, episode, signal) => json(episodePath(id, episode), { signal }),
  cancel: (id) => json(`${evaluationPath(id)}/cancel`, { method: "POST" }),
  resume: (id, errored) => json(`${evaluationPath(id)}/resume?errored=${errored}`, { method: "POST" }),

  /** Every episode of an evaluation, finished or not, in the order of play. */
  async episodes(id, signal) {
    const entries = [];
    let cursor = null;
    do {
      const page = await json(`${evaluationPath(id)}/episodes?limit=500${cursor ? `&cursor=${cursor}` : ""}`, {
        signal,
      });
      entries.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor !== null);
    return entries;
  },

  /** Save an export. By a request, because a link cannot send the key. */
  async save(id, format) {
    const response = await request(`${evaluationPath(id)}/export?format=${format}`);
    saveFile(await response.blob(), `${id}.${format}`);
  },

  /**
   * The events of an evaluation, `{event, data}`, without an end: the caller stops when the status says so.
   *
   * A stream that breaks is opened again after the last event seen; `{event: "broken"}` reports the break. EventSource
   * would do the same, but cannot send a key.
   */
  async *events(id, signal) {
    let last = null;
    let pause = FIRST_PAUSE;
    for (;;) {
      try {
        const headers = last === null ? {} : { "last-event-id": last };
        const response = await request(`${evaluationPath(id)}/events`, { headers, signal });
        for await (const event of parse(response.body)) {
          pause = FIRST_PAUSE;
          last = event.id ?? last;
          yield { event: event.event, data: JSON.parse(event.data) };
        }
      } catch (error) {
        const disconnected = error instanceof TypeError; // what reading a body raises when its connection breaks
        if (signal.aborted || !(disconnected || isTemporary(error))) throw error;
      }
      yield { event: "broken" };
      await sleep(pause, signal);
      pause = Math.min(2 * pause, LONGEST_PAUSE);
    }
  },
};

/** Server-sent events from a body: a block of `field: value` lines each, ended by an empty line. */
async function* parse(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = {};
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines.map((text) => text.replace(/\r$/, ""))) {
        const [, field, text] = /^([^:]*): ?(.*)$/.exec(line) ?? [];
        if (line === "") {
          if (event.data !== undefined) yield event;
          event = {};
        } else if (field === "data") {
          event.data = event.data === undefined ? text : `${event.data}\n${text}`;
        } else if (field) {
          event[field] = text;
        }
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Return after `ms` milliseconds; throws when the signal comes first. */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop);
  });
}
