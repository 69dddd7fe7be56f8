# Which files besides core/lib a unit test is linked with: SRC.test_NAME := path.c ...
SRC.test_guard := core/guard.c
SRC.test_fetch := core/fetch.c core/fetch_stream.c
SRC.test_event := core/event.c
SRC.test_state := core/state.c
SRC.test_control := core/control.c
SRC.device_test := $(addprefix core/,wg.c wg_netlink.c wg_uapi.c netlink.c link.c link_dump.c link_watch.c ledger.c undo.c rawport.c)
SRC.test_config := core/config.c core/event.c
