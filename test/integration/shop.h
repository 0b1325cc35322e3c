// The three pods that most policies of policies.h speak of, in a lab; weir is not started yet.
//
//   Shop shop;
//   auto& [lab, client, stranger, web] = shop;
#pragma once

#include "test/support/lab.h"

namespace weir::test {

struct Shop {
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& stranger = lab.add_pod({"shop", "stranger", {{"app", "other"}}}); // nobody lets it in
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
};

} // namespace weir::test
