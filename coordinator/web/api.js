/* api.js - requests, and what happens meanwhile. What went wrong is a Problem, with a sentence for people. */

const CHECK_MS = 30000; /* a connection that is silently dead shows itself by this */
let csrf = null;

export class Problem extends Error {
	constructor(status, code, detail) {
		super(detail);
		this.status = status;
		this.code = code;
	}
}

export function setCsrf(token) {
	csrf = token;
}

export async function api(method, path, body) {
	const headers = {};
	let answer, json = null;

	if (body !== undefined)
		headers["Content-Type"] = "application/json";
	if (csrf && method !== "GET")
		headers["WG-Mesh-CSRF"] = csrf;
	try {
		answer = await fetch("/api/v1" + path, { method, headers, body: JSON.stringify(body), cache: "no-store" });
	} catch {
		throw new Problem(0, "unreachable", "The coordinator does not answer. Try again when it is back.");
	}
	if (answer.status === 204)
		return null;
	try {
		json = await answer.json();
	} catch { /* a proxy's page */ }
	if (answer.ok && json)
		return json;
	if (answer.status === 401 && csrf)
		dispatchEvent(new Event("session-ended"));
	throw new Problem(answer.status, json?.code, json?.detail ?? `The coordinator answered ${answer.status}.`);
}

export const id = encodeURIComponent;

/* The stream of events, which connects again by itself until stop(). */
export function listen(onEvent, onState) {
	let socket, timer, tries = 0, stopped = false;

	function connect() {
		socket = new WebSocket(`wss://${location.host}/api/v1/events`);
		socket.onmessage = (message) => {
			const event = JSON.parse(message.data);

			if (event.type === "hello") {
				tries = 0;
				onState(true);
			} else {
				onEvent(event);
			}
		};
		socket.onclose = lost;
	}
	function lost() {
		if (stopped)
			return;
		onState(false);
		clearTimeout(timer);
		timer = setTimeout(async () => {
			try {
				await api("GET", "/session"); /* where it has ended we hear 401, and are stopped */
				if (!stopped)
					connect();
			} catch {
				lost();
			}
		}, Math.min(30000, 500 * 2 ** tries++) * (0.75 + Math.random() / 2));
	}
	const check = setInterval(async () => {
		try {
			await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(CHECK_MS / 2) });
		} catch {
			if (socket.readyState === WebSocket.OPEN)
				socket.close();
		}
	}, CHECK_MS);

	connect();
	return function stop() {
		stopped = true;
		clearTimeout(timer);
		clearInterval(check);
		socket.close();
	};
}
