/* app.js - logging in, the frame around the views, and what keeps them as they are: see README.md. */
import { agentEvent, agents, devices, routes } from "./agents.js";
import { api, id, listen, setCsrf } from "./api.js";
import { audit, firstPassword, users } from "./access.js";
import { keys, networks, relays } from "./networks.js";
import { policy } from "./policy.js";
import { state } from "./state.js";
import { attempt, button, form, h, head, muted, toast, tried } from "./ui.js";

const views = { agents, routes, keys, devices, networks, policy, users, relays, audit };
const app = document.getElementById("app");
let stop = null, connected = null, last = null, first = null, here = null, timer = null, wants = false, pressed = false, turn = 0, took = 0;

const brand = () => h("p", { class: "brand" }, h("img", { src: "/web/icon.svg", alt: "", width: 28, height: 28 }), "wg-mesh");

function alone(title, ...children) {
	document.title = title + " · wg-mesh";
	app.replaceChildren(h("main", { class: "alone", id: "main" }, h("section", { class: "card" },
		brand(), h("h1", {}, title), ...children)));
	app.querySelector("input, button")?.focus();
}

/* Nothing goes on for who was logged in here. */
function leave() {
	stop?.();
	stop = here = null;
	turn++;
	setCsrf(null);
	state.me = null;
	document.querySelectorAll("dialog").forEach((box) => box.close());
}

function login(why) {
	leave();
	alone("Log in", why && h("p", { role: "alert", class: "problem" }, why),
		form([{ name: "user", label: "User", required: true, autocomplete: "username" },
			{ name: "password", type: "password", label: "Password", required: true, autocomplete: "current-password" }],
		"Log in", async (values) => begin(await api("POST", "/session", values))),
		muted("No password? On the coordinator's machine: ", h("code", {}, "wg-mesh-coordinator user link admin")));
}

/* Not by itself: a program that looks at links must not use it up, and a stranger's makes strangers of us. */
async function byLink(secret) {
	const now = (await api("GET", "/session").catch(() => null))?.user;

	alone(now ? "Log in as somebody else?" : "Welcome", h("p", {}, "This link logs you in, once."),
		now && [h("p", { class: "warn" }, "You are logged in as ", h("b", {}, now), ". The link replaces this session by one of whom it was made for. Use none from a stranger."),
			button(`Stay ${now}`, start, { class: "primary" })],
		form([], now ? `Replace the session of ${now}` : "Log in", async () => {
			const session = await api("POST", "/session/link", { secret });

			history.replaceState("link", "", "/"); /* outlives loading anew */
			await begin(session);
		}, { danger: now }),
		!now && h("p", {}, button("Use a password instead", () => login(), { class: "link" })));
}

async function begin(session) {
	if (last && last !== session.user) { /* nothing of the one stays for the other */
		location.reload();
		return;
	}
	const mine = turn;

	last = session.user;
	connected = first = null;
	setCsrf(session.csrf_token);
	state.password = (await api("GET", "/users/" + id(session.user))).user.password;
	await Promise.all([networks.load(), agents.load()]);
	if (mine !== turn)
		return;
	state.me = session;
	frame();
	stop = listen(onEvent, onState);
	if (history.state) {
		history.replaceState(null, "");
		toast(`You are logged in as ${session.user}`);
	}
	await show();
}

async function logout() {
	await attempt(() => api("DELETE", "/session"));
	login();
}

function frame() {
	app.replaceChildren(
		h("header", { class: "top" },
			brand(),
			button("Menu", (event) => {
				const open = document.getElementById("nav").classList.toggle("open");

				event.target.setAttribute("aria-expanded", open);
			}, { id: "menu", "aria-expanded": "false", "aria-controls": "nav" }),
			h("span", { id: "live", role: "status" }), h("span", { class: "who" }, state.me.user),
			button("Log out", logout, { class: "small" })),
		h("nav", { id: "nav", "aria-label": "Sections" }), h("main", { id: "main" }));
	onState(connected);
}

function drawNav() {
	document.getElementById("nav").replaceChildren(...Object.entries(views).map(([name, view]) => {
		const count = view.badge?.() ?? 0;

		return h("a", { href: "#" + name, id: "nav-" + name, "aria-current": views[name] === here && "page" }, view.title,
			count > 0 && h("span", { class: "badge", "aria-label": `${count} waiting` }, String(count)));
	}));
}

/* What is there already stays untouched: somebody may be writing in it. */
function put(parent, nodes) {
	for (const old of [...parent.childNodes])
		if (!nodes.includes(old))
			old.remove();
	nodes.forEach((node, i) => parent.childNodes[i] === node || parent.insertBefore(node, parent.childNodes[i] ?? null));
}

/* Draws again without taking the focus from who is at work. */
function draw() {
	const name = document.activeElement?.id, top = scrollY, begun = performance.now();

	drawNav();
	first ??= firstPassword();
	put(document.getElementById("main"), [state.password || first, ...tried(here.draw, [head(here.title), h("p", { class: "problem" }, "This cannot be shown. Load the page again.")])].filter((one) => one instanceof Node));
	if (name && document.activeElement?.id !== name && !document.querySelector("dialog[open]"))
		document.getElementById(name)?.focus({ preventScroll: true });
	scrollTo(0, top);
	took = performance.now() - begun;
}

async function refresh(load) {
	if (load && here)
		await Promise.all([here.load(), here !== networks && load === true && networks.load()]).catch((error) => toast(error.message, true));
	if (here)
		draw();
}
state.refresh = refresh;

async function show() {
	const name = location.hash.slice(1);

	if (!state.me || name === "main")
		return;
	here = views[name] ?? agents;
	document.title = here.title + " · wg-mesh";
	document.getElementById("nav").classList.remove("open");
	document.getElementById("menu").setAttribute("aria-expanded", "false");
	await refresh("view");
	scrollTo(0, 0);
	document.querySelector("main h1")?.focus();
}

/* At most four times a second, and a tenth of the time, however much happens and is shown. */
function soon(load) {
	wants ||= load;
	timer ??= setTimeout(() => {
		const really = wants;

		timer = null;
		if (pressed) { /* a click must end where it began */
			soon(false);
			return;
		}
		wants = false;
		if (here && !here.still)
			refresh(really);
	}, Math.max(250, 9 * took));
}

function onEvent(event) {
	if (event.type === "agent") {
		agentEvent(event);
		soon(false);
	} else if (event.type === "audit") {
		state.audit.unshift(event.audit);
		state.audit.length = Math.min(state.audit.length, 300);
		if (/^network-|^approval-/.test(event.audit.action))
			networks.load().then(() => soon(false), () => {});
		if (here.touches?.test(event.audit.action))
			here.changed && event.audit.actor.startsWith(`user ${state.me.user} `) === false ? here.changed() : soon(true);
		else if (here === audit)
			soon(false);
	}
}

function onState(now) {
	const live = document.getElementById("live");

	if (now && connected === false)
		agents.load().then(() => here?.still || refresh(true), () => {}); /* what was missed */
	connected = now;
	if (live) {
		live.className = now ? "on" : now === null ? "" : "off";
		live.textContent = now ? "live" : now === null ? "connecting" : "not connected, trying again";
	}
}

addEventListener("pointerdown", () => pressed = true);
addEventListener("pointerup", () => pressed = false);
addEventListener("pointercancel", () => pressed = false);
addEventListener("hashchange", () => location.hash.startsWith("#login") ? start() : show());
addEventListener("session-ended", () => state.me && login("Your session has ended. Log in again."));

async function start() {
	const [link, secret] = /^#login=?([\w-]{47}$)?/.exec(location.hash) ?? [];
	const why = link && !secret && "This login link is not complete. Copy the whole line.";

	leave();
	if (link)
		history.replaceState(null, "", "/"); /* it stays in no history */
	if (secret) {
		byLink(secret);
		return;
	}
	try {
		await begin(await api("GET", "/session"));
		if (why)
			toast(why, true);
	} catch (error) {
		login(error.status === 401 ? why : error.message);
	}
}
start();
