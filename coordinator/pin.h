/*
 * pin.h - the PIN of a key that is not in use yet (tls: {next_key}).
 */
#ifndef COORDINATOR_PIN_H
#define COORDINATOR_PIN_H

#include "lib/util.h"

/* SHA-256 of the SubjectPublicKeyInfo of a PEM private key, as tls_server_pin. 0, or -EINVAL and a
 * sentence in error. */
int pin_of_key(const char *path, char pin[static 44], char *error, size_t size);

#endif
