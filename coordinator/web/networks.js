/* networks.js - networks, join keys and relays. */
import { api, id } from "./api.js";
import { actions, ago, ask, attempt, button, chip, chips, copyBox, empty, end, h, head, lines, mono, muted, once, table, words } from "./ui.js";
import { may, networksWith, state } from "./state.js";

export const LIFETIMES = [["1h", "an hour"], ["1d", "a day"], ["7d", "a week"], ["30d", "30 days"], ["90d", "90 days"], ["never", "without end"]];

const given = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== "" && value !== false && value?.length !== 0));

function makeLink() {
	const networks = networksWith("operator");

	ask({ title: "Make a join link", submit: "Make the link",
		fields: [
			{ name: "network", type: "select", label: "Network", options: networks, value: networks.includes("default") ? "default" : networks[0] },
			{ name: "expires", type: "select", label: "Good for", options: LIFETIMES, value: "1h" },
			{ name: "reusable", type: "check", label: "For any number of agents" },
			{ name: "ephemeral", type: "check", label: "Ephemeral: agents go when they are away for half an hour" },
			{ name: "tags", type: "words", label: "Tags", hint: "Given to agents that join by it" },
			{ name: "name", label: "Only for an agent named" },
		],
		action: async (values) => {
			const made = await api("POST", "/join-keys", given(values));

			once("Join link", "It is shown this once. Run the command on the host that is to join:",
				copyBox("Command", `sudo wg-mesh join '${made.link}'`), copyBox("Link", made.link));
		} });
}

const revoke = (key) => end("Revoke this join key?", "Nobody joins by it any more. Agents that have joined stay.", "/join-keys/" + id(key.id), "Revoke");

export const joining = () => networksWith("operator")[0] && button("Make a join link", makeLink, { class: "primary", id: "make-link" });

export const keys = {
	title: "Join keys",
	touches: /^key-|^agent-reg/,
	load: async () => {
		state.keys = (await api("GET", "/join-keys")).keys.sort((a, b) => b.created_at.localeCompare(a.created_at));
	},
	draw: () => {
		const list = state.keys.filter((key) => state.ui.keys === "all" || key.state === "valid");

		return [head("Join keys", joining()),
			h("div", { class: "toolbar" }, h("select", { id: "which", "aria-label": "Which keys", value: state.ui.keys, onchange: (event) => {
				state.ui.keys = event.target.value;
				state.refresh();
			} }, h("option", { value: "valid" }, "valid keys"), h("option", { value: "all" }, "all keys"))),
			list.length ? table("Join keys", [
				["Key", (key) => h("code", {}, key.id)], ["Network", (key) => key.network],
				["State", (key) => [chip(key.state, key.state === "valid" ? "good" : ""), key.reusable && chip("reusable"), key.ephemeral && chip("ephemeral")]],
				["For", (key) => [key.name && h("div", {}, "only ", key.name), key.tags[0] && h("div", {}, chips(key.tags))]],
				["Ends", (key) => key.expires_at ? ago(key.expires_at) : "never"],
				["", (key) => key.state === "valid" && may("operator", key.network) && actions(key.id, ["Revoke", () => revoke(key), "danger"])],
			], list)
				: empty("No join keys", h("p", {}, "An agent joins by a link with a key in it. The links themselves are not kept here."))];
	},
};

function create() {
	ask({ title: "Make a network", submit: "Make it",
		fields: [
			{ name: "name", label: "Name", required: true, hint: "a-z, 0-9 and hyphens" },
			{ name: "cidr", label: "IPv4 range", required: true, hint: "Such as 10.44.0.0/16; it must not overlap what hosts use" },
			{ name: "cidr6", label: "IPv6 range", hint: "Such as fd12:3456::/64" },
			{ name: "approve", type: "check", label: "Agents that join wait for approval" },
		],
		action: async (values) => {
			const { warnings } = await api("POST", "/networks", given(values));

			return [values.name + " is made", ...warnings].join(". Warning: ");
		} });
}

const approval = (network) => attempt(async () => {
	await api("PATCH", "/networks/" + id(network.name), { approve: !network.approve });
}, network.approve ? "Who has a link joins at once" : "Who joins waits for approval");

const remove = (network) => end(`Remove ${network.name}?`, "Its join keys end with it.", "/networks/" + id(network.name));

export const networks = {
	title: "Networks",
	touches: /^network-|^approval-|^agent-re/,
	load: async () => {
		state.networks = (await api("GET", "/networks")).networks;
	},
	draw: () => [head("Networks", may("admin") && button("Make a network", create, { class: "primary", id: "make-network" })),
		state.networks.length ? table("Networks", [
			["Network", (one) => one.name], ["Ranges", (one) => lines([one.cidr, one.cidr6].filter(Boolean))],
			["Agents", (one) => String(one.agents)], ["Joining", (one) => one.approve ? chip("by approval", "warn") : chip("by link")],
			["", (one) => may("admin", one.name) && actions(one.name, [one.approve ? "Join freely" : "Ask for approval", () => approval(one)],
				one.agents === 0 && ["Remove", () => remove(one), "danger"])],
		], state.networks) : empty("No network", h("p", {}, "Agents of a network see each other, and nobody else."))],
};

function add() {
	ask({ title: "Add a relay", submit: "Add", text: "Agents are told of it at once.",
		fields: [
			{ name: "region", label: "Region", required: true, hint: "How it is called, such as fra" },
			{ name: "url", label: "URL", hint: "https://HOST:PORT; empty for a STUN server alone" },
			{ name: "stun", label: "STUN servers", hint: "HOST:PORT, with blanks between them" },
			{ name: "key", label: "Public key" },
		],
		action: async (values) => {
			await api("POST", "/relays", given({ ...values, stun: words(values.stun) }));
		} });
}

export const relays = {
	title: "Relays",
	touches: /^relay-/,
	load: async () => {
		state.relays = (await api("GET", "/relays")).relays;
	},
	draw: () => [head("Relays", may("admin") && button("Add a relay", add, { class: "primary", id: "add-relay" })),
		muted("Beside the one that runs with the coordinator."),
		state.relays.length ? table("Relays", [
			["Region", (relay) => relay.region], ["URL", (relay) => mono(relay.url ?? "–")], ["STUN", (relay) => lines(relay.stun)],
			["", (relay) => may("admin") && actions(relay.region, ["Remove",
				() => end(`Remove ${relay.region}?`, "Agents that use it look for another path.", "/relays/" + id(relay.id)), "danger"])],
		], state.relays)
			: empty("No relays were added", h("p", {}, "A relay in another place carries packets where no direct path is found."))],
};
