/* agents.js - agents, their routes, and devices without an agent. */
import { api, id } from "./api.js";
import { actions, ago, ask, attempt, button, buttons, chip, chips, copyBox, dialog, empty, end, h, head, lines, mono, muted, table, tried } from "./ui.js";
import { ROWS, agentKey, keep, may, state } from "./state.js";
import { joining } from "./networks.js";

const NAT = { none: "no NAT", full_cone: "full cone", restricted_cone: "restricted cone", port_restricted_cone: "port restricted",
	symmetric: "symmetric", udp_blocked: "UDP blocked" };
let bar = null;
const several = () => state.networks.length > 1;
const inNetwork = () => several() ? [["Network", (one) => one.network]] : [];
const all = () => [...state.agents.values()];
const unapproved = () => all().flatMap((agent) => agent.routes.filter((route) => !route.approved));

export const waiting = () => all().filter((agent) => !agent.approved && !agent.expired).length;
export const waitingRoutes = () => unapproved().length;

const path = (agent, rest = "") => `/agents/${id(agent.agent_id)}${rest}?network=${id(agent.network)}`;

function approve(agent) {
	return attempt(() => api("POST", `/agents/${id(agent.agent_id)}/approve`, { network: agent.network }), `${agent.name} is let in`);
}

function rename(agent) {
	ask({ title: `Rename ${agent.name}`, submit: "Rename",
		fields: [{ name: "name", label: "Name", value: agent.name, required: true }],
		action: async (values) => {
			await api("PATCH", path(agent), values);
			return `${agent.name} is now ${values.name}`;
		} });
}

function tag(agent) {
	ask({ title: `Tags of ${agent.name}`, submit: "Save",
		fields: [{ name: "tags", type: "words", label: "Tags", value: agent.tags.join(" "), hint: "Words, with blanks between them" }],
		action: async (values) => {
			await api("PATCH", path(agent), values);
			return "Saved";
		} });
}

function expire(agent) {
	ask({ title: `Expire ${agent.name}`, submit: "Expire", danger: true,
		text: `It has to join ${agent.network} again with a new link, and keeps its name and addresses.`,
		fields: [{ name: "in", type: "select", label: "When", value: "", options: [["", "now"], ["1d", "in a day"], ["7d", "in a week"],
			["30d", "in 30 days"], ["365d", "in a year"], ["never", "never: take an expiry back"]] }],
		action: async (values) => {
			await api("POST", `/agents/${id(agent.agent_id)}/expire`, { network: agent.network, ...(values.in ? values : {}) });
			return "Done";
		} });
}

const remove = (agent) => end(`Remove ${agent.name}?`, `It is cut off from ${agent.network} at once, and its devices go. Nobody gets its addresses for seven days.`, path(agent));

export function setRoute(route, approved) {
	const change = () => api("PATCH", `/routes/${id(route.id)}`, { approved });

	if (approved)
		return attempt(change, `${route.prefix} is approved`);
	return ask({ title: `Revoke ${route.prefix}?`, submit: "Revoke", danger: true,
		text: `Agents no longer reach it through ${route.name}.`, action: change });
}

function status(agent) {
	if (agent.expired)
		return chip("expired", "bad");
	if (!agent.approved)
		return chip("waits for approval", "warn");
	return agent.online ? chip("online", "good") : chip("offline");
}

/* Whatever the agent has called itself able to: words, names with values, or anything else. */
function abilities(given) {
	const words = Array.isArray(given) ? given : Object.keys(given ?? {});

	return words.map((word) => typeof word === "string" ? word : JSON.stringify(word)).join(", ") || "not known";
}

function facts(agent) {
	const rows = [
		["Network", () => agent.network], ["Addresses", () => lines(agent.addresses)], ["Tags", () => agent.tags.length ? chips(agent.tags) : "none"],
		["Last seen", () => agent.online ? "now" : ago(agent.last_seen)], ["Joined", () => ago(agent.joined_at)],
		["Expires", () => agent.expires_at ? ago(agent.expires_at) : "never"],
		["Endpoint", () => mono(agent.endpoint ?? "not known")], ["NAT", () => NAT[agent.nat_type] ?? "not known"],
		["Paths", () => `${agent.peers_direct ?? 0} direct, ${agent.peers_relayed ?? 0} by relay`],
		["Routes", () => agent.routes.length ? agent.routes.map((route) => h("div", {}, mono(route.prefix), " ", route.approved || chip("not approved", "warn"))) : "none"],
		["Able to", () => abilities(agent.capabilities)],
		["Public key", () => mono(agent.public_key)], ["Id", () => mono(agent.agent_id)],
	];

	return h("dl", {}, rows.map(([term, value]) => [h("dt", {}, term), h("dd", {}, tried(value))]));
}

async function open(agent) {
	const full = (await api("GET", path(agent))).agent;
	const box = dialog(full.name, h("p", {}, status(full), full.ephemeral && chip("ephemeral")), facts(full));
	const then = (action) => () => {
		box.close();
		action(full);
	};

	if (may("operator", full.network))
		box.append(buttons(!full.approved && button("Approve", then(approve), { class: "primary" }), button("Rename", then(rename)),
			button("Tags", then(tag)), button("Expire", then(expire)), button("Remove", then(remove), { class: "danger" })));
}

function fits(agent) {
	const { search, network, show } = state.ui;

	return (!network || agent.network === network) && search.toLowerCase().split(/\s+/).every((word) => agent.text.includes(word)) &&
		(show === "all" || (show === "waiting" ? !agent.approved : show === "expired" ? agent.expired : agent.online === (show === "online")));
}

/* The same as long as it offers the same: a list that is open stays open. */
function toolbar() {
	const names = state.networks.map((one) => one.name).join();

	if (bar?.dataset.of !== names) {
		bar = newToolbar();
		bar.dataset.of = names;
	}
	return bar;
}

function newToolbar() {
	const set = (key) => (event) => {
		state.ui[key] = event.target.value;
		state.ui.rows = ROWS;
		state.refresh();
	};

	return h("div", { class: "toolbar" },
		h("input", { id: "search", type: "search", placeholder: "Search names, addresses, tags", "aria-label": "Search agents", value: state.ui.search, oninput: set("search") }),
		several() && h("select", { id: "network", "aria-label": "Network", value: state.ui.network, onchange: set("network") },
			h("option", { value: "" }, "all networks"), state.networks.map((one) => h("option", {}, one.name))),
		h("select", { id: "show", "aria-label": "Which agents", value: state.ui.show, onchange: set("show") },
			["all", "online", "offline", "waiting", "expired"].map((text) => h("option", {}, text))));
}

function stat(number, text, href, kind) {
	return h("a", { class: "card stat " + (kind ?? ""), href }, h("b", {}, String(number)), h("span", {}, text));
}

const columns = () => [
	["Agent", (agent) => [button([h("span", { class: "dot " + (agent.online ? "good" : ""), "aria-hidden": "true" }), agent.name],
		() => attempt(() => open(agent)), { class: "link", id: "open-" + agentKey(agent) }), h("div", {}, chips(agent.tags))]],
	...inNetwork(),
	["Addresses", (agent) => lines(agent.addresses)],
	["NAT", (agent) => NAT[agent.nat_type] ?? "–"],
	["State", (agent) => [status(agent), !agent.online && agent.approved && h("div", { class: "muted" }, agent.last_seen ? ["seen ", ago(agent.last_seen)] : "never seen")]],
	["", (agent) => may("operator", agent.network) && !agent.approved && actions(agent.name, ["Approve", () => approve(agent), "primary"])],
];

function nobody() {
	return empty("Nobody has joined yet",
		h("p", {}, "Make a join link, and run this on each host:"), copyBox("Command", "sudo wg-mesh join 'LINK'"),
		buttons(joining()));
}

const loading = new Set(); /* for each answer that is awaited: events that it may be older than */

function change(event) {
	event.op === "put" ? keep(event.agent) : state.agents.delete(agentKey(event));
}

export function agentEvent(event) {
	change(event);
	loading.forEach((events) => events.push(event));
}

export const agents = {
	title: "Agents",
	badge: waiting,
	load: async () => {
		const events = [];

		loading.add(events);
		const { agents } = await api("GET", "/agents").finally(() => loading.delete(events));

		state.agents = new Map();
		agents.forEach(keep);
		events.forEach(change);
	},
	draw: () => {
		const list = all(), found = list.filter(fits).sort((a, b) => a.approved - b.approved || (a.name < b.name ? -1 : 1));
		const some = found.slice(0, state.ui.rows);

		if (!list.length)
			return [head("Agents"), nobody()];
		return [head("Agents", joining()),
			h("div", { class: "stats" }, stat(`${list.filter((a) => a.online).length} / ${list.length}`, "online", "#agents"),
				waiting() > 0 && stat(waiting(), "wait for approval", "#agents", "warn"),
				waitingRoutes() > 0 && stat(waitingRoutes(), "routes not approved", "#routes", "warn")),
			toolbar(), found.length ? table("Agents", columns(), some) : muted("No agent is like that."),
			found.length > some.length && button(`Show more of ${found.length}`, () => {
				state.ui.rows += 500;
				state.refresh();
			})];
	},
};

export const routes = {
	title: "Routes",
	badge: waitingRoutes,
	touches: /^route-|^agent-re|^policy-/,
	load: async () => {
		state.routes = (await api("GET", "/routes")).routes;
	},
	draw: () => [head("Routes"), state.routes.length ? table("Routes", [
		["Route", (route) => mono(route.prefix)], ["Through", (route) => route.name],
		...inNetwork(),
		["State", (route) => route.approved ? chip("approved", "good") : chip("not approved", "warn")],
		["", (route) => may("operator", route.network) && actions(`${route.prefix} of ${route.name}`,
			route.approved ? ["Revoke", () => setRoute(route, false)] : ["Approve", () => setRoute(route, true), "primary"])],
	], [...state.routes].sort((a, b) => a.approved - b.approved || a.prefix.localeCompare(b.prefix)))
		: empty("No agent offers a route",
			h("p", {}, "An agent that can reach a LAN offers it in its configuration, ", h("code", {}, "/etc/wg-mesh/wg0.yaml"), ":"),
			copyBox("Configuration", "routes: {advertise: [192.168.1.0/24]}"))],
};

export const devices = {
	title: "Devices",
	touches: /^device-|^agent-re/,
	load: async () => {
		state.devices = (await api("GET", "/peers")).devices;
	},
	draw: () => [head("Devices"), muted("With the stock WireGuard app and no agent; each reaches its gateway alone."),
		state.devices.length ? table("Devices", [
			["Device", (device) => device.name], ["Addresses", (device) => lines(device.addresses)], ["Gateway", (device) => device.via],
			...inNetwork(), ["Added", (device) => ago(device.created_at)],
			["", (device) => may("operator", device.network) && actions(device.name, ["Remove",
				() => end(`Remove ${device.name}?`, `${device.via} lets it in no more.`, "/peers/" + id(device.id)), "danger"])],
		], state.devices)
			: empty("No devices", h("p", {}, "The private key never leaves the machine that makes it, so a device is added on the coordinator's:"),
				copyBox("Command", "sudo wg-mesh-coordinator peer add phone --via AGENT"))],
};
