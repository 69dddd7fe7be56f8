/*
 * cli_device.h - `peer add` on the administrator's side: the device's private key is made here, printed
 * once, and neither sent nor stored.
 */
#ifndef COORDINATOR_CLI_DEVICE_H
#define COORDINATOR_CLI_DEVICE_H

#include <jansson.h>
#include <stdbool.h>

void cli_device_prepare(json_t *options); /* makes a key where none was given */
void cli_device_finish(json_t *result);   /* "configuration" into the result, and wipes the key */
void print_device(const json_t *result);
void print_devices(const json_t *result);

#endif
