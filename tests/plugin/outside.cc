// An out-of-tree plugin in C++: knows nothing but the installed header.
#include <wg-mesh/plugin.h>

#include <arpa/inet.h>
#include <memory>
#include <string>
#include <vector>

namespace {

class Cxx {
public:
	explicit Cxx(wgm_host *host) : host_(host) {}

	int refresh()
	{
		std::vector<wgm_candidate> found;

		for (unsigned i = 0; i < host_->option_count(host_, "addresses"); i++) {
			wgm_candidate candidate{};
			const std::string text = host_->option_string(host_, "addresses", i);

			candidate.type = WGM_PORT_MAPPED;
			candidate.addr.in4.sin_family = AF_INET;
			candidate.addr.in4.sin_port = htons(host_->port(host_));
			if (inet_pton(AF_INET, text.c_str(), &candidate.addr.in4.sin_addr) != 1)
				return host_->fail(host_, 22, "%s is no address", text.c_str());
			found.push_back(candidate);
		}
		host_->found(host_, found.data(), found.size());
		return 0;
	}

private:
	wgm_host *host_;
};

int cxx_open(wgm_host *host, void **self)
{
	*self = std::make_unique<Cxx>(host).release();
	return 0;
}

void cxx_close(void *self)
{
	delete static_cast<Cxx *>(self);
}

int cxx_refresh(void *self)
{
	return static_cast<Cxx *>(self)->refresh();
}

const wgm_option options[] = {
	{"addresses", WGM_STRING, WGM_LIST, nullptr, 0, 0, "what it finds"},
	{nullptr, 0, 0, nullptr, 0, 0, nullptr},
};

const wgm_discovery_ops ops = {sizeof(ops), cxx_refresh, nullptr, nullptr};

} // namespace

WGM_PLUGIN(WGM_DISCOVERY, "cxx", "0.9", "an example in C++", 0, options, cxx_open, nullptr, cxx_close, &ops);
