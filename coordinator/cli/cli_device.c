/*
 * cli_device.c - the configuration of a device as text and as QR code. On a terminal there are both;
 * redirected, standard output is the text alone, to be kept as a file, unless --qr says otherwise. Notes go to
 * standard error.
 */
#include "cli_device.h"
#include "cli_print.h"
#include "lib/buf.h"
#include "lib/key.h"
#include "lib/secret.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_QRENCODE
#include <qrencode.h>
#endif

#define QUIET 4 /* light modules around a code, ISO/IEC 18004 */

static struct key private_key; /* between prepare and finish; zero: the device's own */
static bool qr, no_qr;         /* as the command line says */

void cli_device_prepare(json_t *options)
{
	char text[KEY_BASE64];
	struct key public_key;

	qr = json_object_get(options, "qr");
	no_qr = json_object_get(options, "no_qr");
	json_object_del(options, "qr");
	json_object_del(options, "no_qr");
	if (json_object_get(options, "public_key"))
		return;
	key_generate_private(&private_key);
	key_public(&public_key, &private_key);
	key_format(text, &public_key);
	json_object_set_new(options, "public_key", json_string(text));
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static void add_interface(struct buf *out, const json_t *device)
{
	const json_t *address;
	char text[KEY_BASE64] = "";
	size_t i;

	buf_addf(out, "# %s in the network %s\n[Interface]\n", text_of(device, "name"),
		 text_of(device, "network"));
	if (!key_is_zero(&private_key)) {
		key_format(text, &private_key);
		buf_addf(out, "PrivateKey = %s\n", text);
		secret_wipe(text, sizeof(text));
	} else {
		buf_addf(out, "# PrivateKey: the device's own, of the public key %s\n",
			 text_of(device, "public_key"));
	}
	json_array_foreach(json_object_get(device, "addresses"), i, address) {
		const char *one = json_string_value(address);

		buf_addf(out, "%s%s/%d", i ? ", " : "Address = ", one, strchr(one, ':') ? 128 : 32);
	}
	buf_puts(out, "\n");
}

/* The whole network, so that nothing need be changed on the device once packets are forwarded. */
static void add_peer(struct buf *out, const json_t *device)
{
	const json_t *gateway = json_object_get(device, "gateway");
	const char *cidr6 = text_of(device, "cidr6");

	buf_addf(out, "\n# %s\n[Peer]\nPublicKey = %s\nAllowedIPs = %s%s%s\n", text_of(gateway, "name"),
		 text_of(gateway, "public_key"), text_of(device, "cidr"), *cidr6 ? ", " : "", cidr6);
	buf_addf(out, "Endpoint = %s\nPersistentKeepalive = 25\n", text_of(gateway, "endpoint"));
}

void cli_device_finish(json_t *result)
{
	const json_t *device = json_object_get(result, "device");
	struct buf out;

	buf_init(&out, 0);
	buf_reserve(&out, 4096); /* so that it never moves and leaves the key behind */
	add_interface(&out, device);
	add_peer(&out, device);
	json_object_set_new(result, "configuration", json_string(buf_text(&out)));
	buf_wipe(&out);
	key_wipe(&private_key);
}

#ifdef HAVE_QRENCODE
static bool dark(const QRcode *code, int x, int y)
{
	if (x < 0 || y < 0 || x >= code->width || y >= code->width)
		return false;
	return code->data[y * code->width + x] & 1;
}

/* Two rows of modules a line; dark on light whatever the terminal's colours are. */
static void print_code(const char *text)
{
	static const char *const halves[] = {"█", "▀", "▄", " "}; /* light both, above, below, none */
	QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L);

	if (!code) {
		fputs("wg-mesh-coordinator: this configuration does not fit into a QR code\n", stderr);
		return;
	}
	for (int y = -QUIET; y < code->width + QUIET; y += 2) {
		fputs("\033[40;37;1m", stdout);
		for (int x = -QUIET; x < code->width + QUIET; x++)
			fputs(halves[dark(code, x, y) * 2 + dark(code, x, y + 1)], stdout);
		puts("\033[m");
	}
	secret_wipe(code->data, (size_t)code->width * (size_t)code->width);
	QRcode_free(code);
}
#else
static void print_code(const char *text)
{
	(void)text;
	fputs("wg-mesh-coordinator: no QR code: this program was built without libqrencode\n", stderr);
}
#endif

void print_device(const json_t *result)
{
	const char *text = text_of(result, "configuration");
	const json_t *note;
	size_t i;

	fputs(text, stdout);
	if (strstr(text, "\nPrivateKey = ")) {
		if (qr || (!no_qr && isatty(STDOUT_FILENO)))
			print_code(text);
	} else if (qr) {
		fputs("wg-mesh-coordinator: no QR code: the private key is the device's own\n", stderr);
	}
	fflush(stdout);
	json_array_foreach(json_object_get(result, "notes"), i, note)
		fprintf(stderr, "wg-mesh-coordinator: %s\n", json_string_value(note));
}

void print_devices(const json_t *result)
{
	static const struct column columns[] = {
		{"NAME", "name"}, {"NETWORK", "network"},  {"ADDRESSES", "addresses"},
		{"VIA", "via"},	  {"PUBLIC KEY", "public_key"}, {0},
	};

	print_table(json_object_get(result, "devices"), columns);
}
