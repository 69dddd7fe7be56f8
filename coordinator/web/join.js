/* join.js - the page of a join link: the command with the link in it. Nothing is sent. */
import { h, copyBox } from "./ui.js";

const whole = /^#[\w-]{22}(\.[\w-]{43})?$/.test(location.hash);
const link = location.origin + "/join" + location.hash;

document.getElementById("join").append(whole
	? copyBox("Command", `sudo wg-mesh join '${link}'`)
	: h("p", { class: "problem", role: "alert" },
		"This link is not whole: it needs what follows # too. Copy all of it, or ask for another."));
