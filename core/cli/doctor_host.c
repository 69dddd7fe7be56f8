/*
 * doctor_host.c - checks of the host itself, which hold before it has joined anything.
 */
#include "doctor.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "run.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MODULES_MAX  ((size_t)16 * 1024 * 1024)
#define CLOCK_OLDEST 1735689600000ull /* 2025-01-01: no wg-mesh is older */

static void check_rights(struct doctor *doctor)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2] = {{0}, {0}};
	uint32_t need = 1u << CAP_NET_ADMIN | 1u << CAP_NET_RAW;

	if (syscall(SYS_capget, &head, sets) == 0 && (sets[0].effective & need) == need)
		doctor_say(doctor, DOCTOR_OK, NULL, "CAP_NET_ADMIN and CAP_NET_RAW are there");
	else
		doctor_say(doctor, DOCTOR_PROBLEM,
			   "run as root; in a container add NET_ADMIN and NET_RAW",
			   "this process lacks CAP_NET_ADMIN or CAP_NET_RAW");
}

static bool file_has(const char *path, const char *word)
{
	struct buf text;
	bool found;

	buf_init(&text, MODULES_MAX);
	found = file_read(path, MODULES_MAX, &text) == 0 && strstr(buf_text(&text), word);
	buf_free(&text);
	return found;
}

static bool kernel_can(void)
{
	struct utsname name;
	char path[PATHS_MAX];

	if (access("/sys/module/wireguard", F_OK) == 0)
		return true;
	if (uname(&name) < 0)
		return false;
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", name.release);
	if (file_has(path, "/wireguard.ko"))
		return true;
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.builtin", name.release);
	return file_has(path, "/wireguard.ko");
}

static void check_wireguard(struct doctor *doctor)
{
	const char *chosen = getenv("WG_QUICK_USERSPACE_IMPLEMENTATION");

	if (kernel_can())
		doctor_say(doctor, DOCTOR_OK, NULL, "the kernel has WireGuard");
	else if (!doctor_in_path(chosen ? chosen : "wireguard-go"))
		doctor_say(doctor, DOCTOR_PROBLEM,
			   "apt install wireguard-go, or a kernel with WireGuard",
			   "neither the kernel has WireGuard nor is there one in user space");
	else if (access("/dev/net/tun", R_OK | W_OK) < 0)
		doctor_say(doctor, DOCTOR_PROBLEM,
			   "make /dev/net/tun available (modprobe tun; --device in a "
			   "container)",
			   "WireGuard in user space needs /dev/net/tun: %s", strerror(errno));
	else
		doctor_say(doctor, DOCTOR_NOTE, NULL,
			   "the kernel has no WireGuard; %s does it in user space, more slowly",
			   chosen ? chosen : "wireguard-go");
}

static void check_programs(struct doctor *doctor)
{
	const char *agent = run_agent_path();

	if (access(agent, X_OK) < 0)
		doctor_say(doctor, DOCTOR_PROBLEM, "install wg-mesh whole", "the agent %s: %s",
			   agent, strerror(errno));
	else if (!doctor_in_path("wg-quick"))
		doctor_say(doctor, DOCTOR_PROBLEM, "apt install wireguard-tools",
			   "wg-quick is not there to bring interfaces up");
	else if (!doctor_in_path("wg-mesh"))
		doctor_say(doctor, DOCTOR_PROBLEM, "install wg-mesh into a directory of PATH",
			   "wg-quick's hooks look for wg-mesh in PATH and will not find it");
	else
		doctor_say(doctor, DOCTOR_OK, NULL, "wg-quick, wg-mesh and its agent are there");
}

static void check_clock(struct doctor *doctor)
{
	struct timex timex = {0};
	int state = adjtimex(&timex);

	if (clock_wall_ms() < CLOCK_OLDEST)
		doctor_say(doctor, DOCTOR_PROBLEM, "set it, and run an NTP client",
			   "the clock of this host is years behind");
	else if (state >= 0 && timex.status & STA_UNSYNC)
		doctor_say(doctor, DOCTOR_NOTE, "run an NTP client (systemd-timesyncd, chrony)",
			   "nobody keeps the clock of this host right");
	else
		doctor_say(doctor, DOCTOR_OK, NULL, "the clock is kept right");
}

static void check_directory(struct doctor *doctor)
{
	struct stat st;

	if (stat("/etc/wireguard", &st) < 0)
		doctor_say(doctor, DOCTOR_NOTE, NULL,
			   "there is no /etc/wireguard yet: join makes it");
	else if (st.st_mode & 022 || st.st_uid != 0)
		doctor_say(doctor, DOCTOR_PROBLEM,
			   "chown root /etc/wireguard; chmod 700 /etc/wireguard",
			   "/etc/wireguard can be written by others than root");
	else
		doctor_say(doctor, DOCTOR_OK, NULL, "/etc/wireguard is root's");
}

static void check_raw_socket(struct doctor *doctor)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);

	if (fd >= 0)
		doctor_say(doctor, DOCTOR_OK, NULL,
			   "raw sockets can be opened (STUN from WireGuard's port)");
	else
		doctor_say(doctor, DOCTOR_PROBLEM,
			   "allow CAP_NET_RAW (or the seccomp profile's raw sockets)",
			   "no raw socket can be opened: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

const struct doctor_check doctor_host_checks[] = {
	{"rights", check_rights},
	{"wireguard", check_wireguard},
	{"programs", check_programs},
	{"raw socket", check_raw_socket},
	{"directory", check_directory},
	{"clock", check_clock},
	{0},
};
