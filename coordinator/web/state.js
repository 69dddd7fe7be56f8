/* state.js - what the page knows: who is logged in, and what may be seen of the mesh. */

const RANK = { viewer: 1, operator: 2, admin: 3 };
export const ROWS = 200; /* of agents, at first: more are slow to draw */

export const state = {
	me: null, /* GET /session */
	password: true, /* has this user one? */
	networks: [],
	agents: new Map(), /* "AGENT_ID NETWORK" to rows of GET /agents */
	routes: [], keys: [], devices: [], users: [], tokens: [], relays: [], audit: [],
	ui: { search: "", network: "", show: "all", keys: "valid", rows: ROWS },
	refresh: () => {}, /* draws the view again, and with (true) loads it before: app.js */
};

export const agentKey = (agent) => `${agent.agent_id} ${agent.network}`;

/* An agent as all views may take it, whatever has told of it. */
export function keep(agent) {
	const key = agentKey(agent), one = { ...state.agents.get(key), ...agent };

	for (const name of ["addresses", "tags", "routes"])
		one[name] = Array.isArray(one[name]) ? one[name] : [];
	one.name = String(one.name);
	one.text = JSON.stringify([one.name, one.agent_id, one.network, one.endpoint ?? "", one.addresses, one.tags]).toLowerCase();
	state.agents.set(key, one);
}

/* The role in a network, by name; without a name for everything. */
export function rank(network) {
	const known = state.networks.find((one) => one.name === network);

	return Math.max(0, ...(state.me?.roles ?? [])
		.filter((row) => row.network === null || (known && row.network === known.id))
		.map((row) => RANK[row.role] ?? 0));
}

export const may = (role, network) => rank(network) >= RANK[role];

export const networksWith = (role) => state.networks.filter((one) => may(role, one.name)).map((one) => one.name);
