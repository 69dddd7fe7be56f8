/*
 * cli_password.c - the terminal's echo is off while a password is typed, and back on after a signal too
 * (signals wait until the line is read).
 */
#include "cli_password.h"
#include "lib/secret.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define MAX_LINE 1100

static bool read_line(char out[static MAX_LINE])
{
	if (!fgets(out, MAX_LINE, stdin))
		return false;
	out[strcspn(out, "\r\n")] = '\0';
	return true;
}

static bool ask(const char *prompt, char out[static MAX_LINE])
{
	struct termios before, quiet;
	sigset_t all, old;
	bool got;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return false;
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	fputs(prompt, stderr);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	got = read_line(out);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	fputc('\n', stderr);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return got;
}

bool cli_password(json_t *options)
{
	char first[MAX_LINE] = "", second[MAX_LINE] = "";
	bool fine;

	if (isatty(STDIN_FILENO)) {
		fine = ask("Password: ", first) && ask("Again: ", second);
		if (fine && strcmp(first, second)) {
			fputs("wg-mesh-coordinator: the two passwords differ: try again\n", stderr);
			fine = false;
		}
	} else {
		fine = read_line(first);
		if (!fine)
			fputs("wg-mesh-coordinator: no password came: give it on standard input\n", stderr);
	}
	if (fine && json_object_set_new(options, "password", json_string(first)) < 0) {
		fputs("wg-mesh-coordinator: a password must be UTF-8\n", stderr);
		fine = false;
	}
	secret_wipe(first, sizeof(first));
	secret_wipe(second, sizeof(second));
	return fine;
}
