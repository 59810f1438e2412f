// The public interface of the env-runner, as any other client asks it.

const KEY = "waymark-key";
const FIRST_PAUSE = 500; // ms until a broken stream of events is asked for again; doubled each time
const LONGEST_PAUSE = 10_000;

/** An answer that is no success, in the words of its problem document. */
export class Refused extends Error {
  constructor(status, detail, errors = []) {
    super(detail);
    this.status = status;
    this.errors = errors; // [{field, message}]
  }
}

/** The interface wants a key, or another one than it got. */
export class KeyWanted extends Error {
  constructor(refused) {
    super(refused ? "That key is not one of this service's." : "This service asks for a key.");
  }
}

/** The env-runner cannot be reached. */
export class Unreachable extends Error {
  constructor() {
    super("The env-runner does not answer.");
  }
}

/** Whether it is worth asking again. */
export const passing = (error) => error instanceof Unreachable || error.status >= 500;

/** The bearer key: kept for this tab alone, and until it is closed. */
export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

async function request(path, { method = "GET", headers = {}, signal, body } = {}) {
  const held = key.get();
  const sent = {
    ...headers,
    ...(held && { authorization: `Bearer ${held}` }),
    ...(body !== undefined && { "content-type": "application/json" }),
  };
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: sent,
      signal,
      cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable();
  }
  if (response.ok) return response;
  if (response.status === 401) throw new KeyWanted(held !== null);
  const problem = await response.json().catch(() => ({}));
  throw new Refused(response.status, problem.detail ?? `The env-runner answered ${response.status}.`, problem.errors);
}

const EVALUATIONS = "v1/evaluations";
const one = (id) => `${EVALUATIONS}/${encodeURIComponent(id)}`;
const json = async (path, options) => (await request(path, options)).json();

export const api = {
  runs: (signal) => json("v1/runs", { signal }),
  failures: (id, signal) => json(`${one(id)}/failures`, { signal }),
  notes: (id, signal) => json(`v1/runs/${encodeURIComponent(id)}/notes`, { signal }),
  writeNotes: (id, notes) => json(`v1/runs/${encodeURIComponent(id)}/notes`, { method: "PUT", body: notes }),
  options: (signal) => json("v1/options", { signal }),
  submit: (body) => json(EVALUATIONS, { method: "POST", body }),
  comparison: (ids, signal) =>
    json(`v1/comparison?${ids.map((id) => `run=${encodeURIComponent(id)}`).join("&")}`, { signal }),
  turn: (id, episode, turn, signal) =>
    json(`${one(id)}/episodes/${encodeURIComponent(episode)}/turns/${turn}`, { signal }),
  play: {
    begin: (body) => json("v1/play", { method: "POST", body }),
    look: (id, signal) => json(`v1/play/${encodeURIComponent(id)}`, { signal }),
    turn: (id, body) => json(`v1/play/${encodeURIComponent(id)}/turns`, { method: "POST", body }),
    end: (id) => json(`v1/play/${encodeURIComponent(id)}/end`, { method: "POST" }),
  },
  evaluation: (id, signal) => json(one(id), { signal }),
  summary: (id, signal) => json(`${one(id)}/summary`, { signal }),
  episode: (id, episode, signal) => json(`${one(id)}/episodes/${encodeURIComponent(episode)}`, { signal }),
  cancel: (id) => json(`${one(id)}/cancel`, { method: "POST" }),
  resume: (id, errored) => json(`${one(id)}/resume?errored=${errored}`, { method: "POST" }),

  /** Every episode of an evaluation, played or not, in the order of play. */
  async episodes(id, signal) {
    const found = [];
    let cursor = null;
    do {
      const page = await json(`${one(id)}/episodes?limit=500${cursor ? `&cursor=${cursor}` : ""}`, { signal });
      found.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor !== null);
    return found;
  },

  /** Save an export. Through a request of our own, since a link cannot send the key. */
  async save(id, format) {
    const response = await request(`${one(id)}/export?format=${format}`);
    const address = URL.createObjectURL(await response.blob());
    const link = document.createElement("a");
    link.href = address;
    link.download = `${id}.${format}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  },

  /**
   * The events of an evaluation, `{event, data}`, without an end: who follows stops when the status says so.
   *
   * A stream that breaks is taken up after the last event seen; `{event: "broken"}` tells of it. EventSource would do
   * the same, but cannot send a key.
   */
  async *events(id, signal) {
    let last = null;
    let pause = FIRST_PAUSE;
    for (;;) {
      try {
        const headers = last === null ? {} : { "last-event-id": last };
        const response = await request(`${one(id)}/events`, { headers, signal });
        for await (const event of parse(response.body)) {
          pause = FIRST_PAUSE;
          last = event.id ?? last;
          yield { event: event.event, data: JSON.parse(event.data) };
        }
      } catch (error) {
        const torn = error instanceof TypeError; // how a body says that its connection broke
        if (signal.aborted || !(torn || passing(error))) throw error;
      }
      yield { event: "broken" };
      await sleep(pause, signal);
      pause = Math.min(2 * pause, LONGEST_PAUSE);
    }
  },
};

/** Server-sent events out of a body: a block of `field: value` lines each, ended by an empty line. */
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

/** Return after so many ms; throws when the signal comes first. */
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
