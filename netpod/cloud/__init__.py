"""The cloud around the cluster: addresses for Services of type LoadBalancer, and the balancer that answers them.

Reads Services and Nodes; writes `status.loadBalancer` and events, and the nftables table `ip netpod-lb` in the edge's
network namespace. What a cloud provider's controller manager and its load balancers do, on one machine.

    model.py         what a Service says about its load balancer
    pool.py          which virtual address belongs to which Service
    loadbalancer.py  the controller: address in, status out
    edge.py          frontends and nodes -> nft text
    health.py        asks nodes whether they have endpoints of a Service
    run.py           both loops

Sources: kubernetes staging/src/k8s.io/cloud-provider/controllers/service/controller.go.
"""
