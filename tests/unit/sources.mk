# Which files besides core/lib a unit test is linked with: SRC.test_NAME := path.c ...
SRC.test_fetch := core/fetch.c core/fetch_stream.c
SRC.test_event := core/event.c
SRC.test_state := core/state.c
SRC.test_control := core/control.c
