"""Addresses at which clouds serve a machine's credentials, user data and host services: a table, each row with its source.

`origin_access` denies them by default. Link-local networks are listed whole, since every host on a link may use any address of them. So is
Amazon's IPv6 block, which contains only host services.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

ADDRESSES: tuple[tuple[str, str, str], ...] = (
    (
        "169.254.0.0/16",
        "link-local; 169.254.169.254 of nearly every cloud, ECS tasks 169.254.170.2, EKS pods 169.254.170.23, Scaleway 169.254.42.42, "
        "Tencent 169.254.0.23",
        "RFC 3927; https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html",
    ),
    ("fe80::/10", "link-local; OpenStack fe80::a9fe:a9fe", "RFC 4291 section 2.5.6; https://docs.openstack.org/nova/latest/user/metadata.html"),
    (
        "fd00:ec2::/32",
        "Amazon: instance metadata ::254, EKS Pod Identity ::23, resolver ::253, time ::123",
        "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html; "
        "https://docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html",
    ),
    ("fd20:ce::254/128", "Google Cloud, IPv6-only instances", "https://cloud.google.com/compute/docs/metadata/querying-metadata"),
    (
        "168.63.129.16/32",
        "Azure WireServer: extensions' settings, certificates",
        "https://learn.microsoft.com/en-us/azure/virtual-network/what-is-ip-address-168-63-129-16",
    ),
    ("fd00:c1::a9fe:a9fe/128", "Oracle Cloud", "https://docs.oracle.com/en-us/iaas/Content/Compute/Tasks/gettingmetadata.htm"),
    ("192.0.0.192/32", "Oracle Cloud Classic", "https://docs.oracle.com/en/cloud/iaas/compute-iaas-cloud/stcsg/retrieving-instance-metadata.html"),
    ("100.100.100.200/32", "Alibaba Cloud", "https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata"),
    ("fd00:100::100:200/128", "Alibaba Cloud over IPv6", "https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata"),
    ("fd00:42::42/128", "Scaleway", "https://cloudinit.readthedocs.io/en/latest/reference/datasources/scaleway.html"),
    ("fd00:a9fe:a9fe::1/128", "Akamai (Linode)", "https://techdocs.akamai.com/cloud-computing/docs/metadata-service-api"),
    ("100.96.0.96/32", "Volcano Engine, BytePlus", "https://www.volcengine.com/docs/6396/73672"),
)
"""(network, cloud and services, source of the information)"""

NETWORKS: tuple[IPv4Network | IPv6Network, ...] = tuple(ip_network(network) for network, _, _ in ADDRESSES)
