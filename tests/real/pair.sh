# shellcheck shell=bash disable=SC2034,SC2154,SC2086
# (what is set or read in another file; lists of units, split on purpose)
# A pair: a MoM with the CA and a compile master, laid out as Puppet
# Enterprise does, with the first certificate signed. Sourced by run.

# What differs between the versions.
pair_select()
{
	case $1 in
	5)	suite=bullseye packages="puppet puppet-master" ;;
	7)	suite=bookworm packages="puppet-agent puppetserver" ;;
	8)	suite=trixie packages="puppet-agent puppetserver" ;;
	esac
	version=$1
	net=cmregen$1
	ssl=$puppetlabs/puppet/ssl
	if [ "$1" = 5 ]; then
		cadir=$ssl/ca
		units="puppet pe-puppetserver mcollective pxp-agent"
	else
		cadir=$puppetlabs/puppetserver/ca
		units="puppet pe-puppetserver pxp-agent"
	fi
}

# Debian's paths become PE's, in the two places that hold defaults (run_mode
# and puppetserver's gem) and in puppetserver's configuration and programs.
layout_paths()
{
	local root=$1

	grep -rlE '/etc/puppet|/var/(cache|lib)/puppet|puppet_confdir, |service puppetserver' \
	    "$root"/usr/lib/ruby/vendor_ruby/puppet/util/run_mode.rb \
	    "$root"/usr/lib/ruby/vendor_ruby/puppet/defaults.rb \
	    "$root"/usr/share/rubygems-integration/all/gems/puppetserver-ca-* \
	    "$root"/usr/share/puppetserver/cli \
	    "$root"/usr/bin/puppetserver "$root"/etc/default/puppetserver \
	    "$root$puppetlabs"/puppetserver \
	    "$root"/etc/systemd/system/pe-puppetserver.service 2>/dev/null |
	    xargs sed -i -E '
		s#/etc/puppet/(puppetserver|code)#/etc/puppetlabs/\1#g
		s#/etc/puppet([^l]|$)#/etc/puppetlabs/puppet\1#g
		s#/var/cache/puppet#/opt/puppetlabs/puppet/cache#g
		s#/var/lib/puppet/ssl#/etc/puppetlabs/puppet/ssl#g
		s#File.join\(puppet_confdir, #File.join(File.dirname(puppet_confdir), #
		s#service puppetserver#service pe-puppetserver#'
}

unit_trivial()
{
	cat >"$1/etc/systemd/system/$2.service" <<-END
	[Unit]
	Description=Stands in for $2
	[Service]
	ExecStart=/bin/sleep infinity
	[Install]
	WantedBy=multi-user.target
	END
}

# layout HOST: PE's layout on the mounted root of a host that is not booted.
layout()
{
	local h=$1 root=$work/$1/root u etc=$work/$1/root$puppetlabs name

	name=$node
	[ "$h" = node ] || name=$mom
	printf '127.0.0.1 localhost\n%s %s mom\n%s %s compile\n' \
	    "$mom_ip" "$mom" "$node_ip" "$node" >"$root/etc/hosts"
	# shellcheck disable=SC2016 # expanded there
	chroot "$root" sh -c '
		usermod -l pe-puppet -d /opt/puppetlabs/server puppet
		groupmod -n pe-puppet puppet
		mkdir -p /opt/puppetlabs/bin /opt/puppetlabs/server \
		    /opt/puppetlabs/puppet/cache
		chown pe-puppet: /opt/puppetlabs/puppet/cache
		ln -s /usr/bin/puppet /opt/puppetlabs/bin/puppet
		for f in puppet puppetserver puppet-master; do
			rm -f /etc/init.d/$f /etc/cron.daily/$f
			rm -f /etc/systemd/system/*/$f.service
		done' || return 1

	mkdir -p "$etc/puppet" "$etc/code/environments/production/manifests"
	if [ "$version" = 5 ]; then
		layout_webrick "$h"
	else
		layout_puppetserver "$h"
	fi
	for u in $units; do
		case $u in mcollective | pxp-agent)
			[ "$h" = mom ] || unit_trivial "$root" "$u" ;;
		esac
	done
	layout_paths "$root"

	# The policy is asked anew at each request, so that a scenario turns
	# autosigning on and off without a restart of the server.
	printf '#!/bin/sh\ntest -e /run/autosign\n' >"$etc/puppet/autosign"
	chmod 755 "$etc/puppet/autosign"
	cat >"$etc/puppet/puppet.conf" <<-END
	[main]
	certname = $name
	server = $mom
	user = pe-puppet
	group = pe-puppet
	autosign = $puppetlabs/puppet/autosign
	dns_alt_names = ${name%%.*},puppet.${name#*.}
	END
	[ "$version" != 5 ] || [ "$h" = mom ] ||
	    printf '[master]\nca = false\n' >>"$etc/puppet/puppet.conf"
	cat >"$etc/code/environments/production/manifests/site.pp" <<-END
	node '$node' {
	  service { ['pe-puppetserver', 'pxp-agent']:
	    ensure => running,
	    enable => true,
	  }
	}
	node default {}
	END
	chroot "$root" chown -R pe-puppet: "$puppetlabs"
}

# Puppet 5 has its server in itself. The one repair: with ruby 2.7, which
# Puppet 5 was not written for, an empty body is a frozen string, and changing
# its encoding in place answers the upload of a request with 500.
layout_webrick()
{
	local root=$work/$1/root pre=

	# Without a certificate PE's server does not start, but takes as long to
	# fail as its JVM to come up: 19 s for that of 7 on two idle cores. This
	# one would make a key and a request itself, beside those of the agent's
	# daemon, and one of the two keys would not match.
	[ "$1" = mom ] || pre="ExecStartPre=/usr/bin/timeout 19 \
	    /bin/sh -c 'until test -s $ssl/certs/$node.pem; do sleep 1; done'"

	sed -i 's/body\.encode!(charset)/body = body.encode(charset)/' \
	    "$root/usr/lib/ruby/vendor_ruby/puppet/network/http/response.rb"
	rm -rf "$root/etc/puppet"
	rm -f "$root"/lib/systemd/system/puppet*.service
	cat >"$root/etc/systemd/system/puppet.service" <<-END
	[Unit]
	Description=Puppet agent
	[Service]
	ExecStart=/opt/puppetlabs/bin/puppet agent --no-daemonize
	KillMode=process
	[Install]
	WantedBy=multi-user.target
	END
	cat >"$root/etc/systemd/system/pe-puppetserver.service" <<-END
	[Unit]
	Description=Puppet master
	[Service]
	$pre
	ExecStart=/opt/puppetlabs/bin/puppet master --no-daemonize
	[Install]
	WantedBy=multi-user.target
	END
}

layout_puppetserver()
{
	local h=$1 root=$work/$1/root conf=$work/$1/root$puppetlabs/puppetserver

	cp -a "$root/etc/puppet/puppetserver" "$conf"
	rm -rf "$root/etc/puppet"
	ln -s /usr/bin/puppetserver "$root/opt/puppetlabs/bin/puppetserver"
	sed 's/^User=.*/User=pe-puppet/' \
	    "$root/lib/systemd/system/puppetserver.service" \
	    >"$root/etc/systemd/system/pe-puppetserver.service"
	rm "$root/lib/systemd/system/puppetserver.service"
	if [ "$h" = mom ]; then
		sed -i 's/# *\(allow-subject-alt-names:\).*/\1 true/' \
		    "$conf/conf.d/ca.conf"
		return
	fi
	# A compile master: the CA is elsewhere, and the server cannot start
	# without its own certificate.
	sed -i -e '/^puppetlabs.*certificate-authority-service$/s/^/#/' \
	    -e '/certificate-authority-disabled-service$/s/^#//' \
	    "$conf/services.d/ca.cfg"
	cat >"$conf/conf.d/webserver.conf" <<-END
	webserver: {
	    access-log-config: $puppetlabs/puppetserver/request-logging.xml
	    client-auth: want
	    ssl-host: 0.0.0.0
	    ssl-port: 8140
	    ssl-cert: $ssl/certs/$node.pem
	    ssl-key: $ssl/private_keys/$node.pem
	    ssl-ca-cert: $ssl/certs/ca.pem
	    ssl-crl-path: $ssl/crl.pem
	}
	END
}

tls_answers()
{
	on "$1" sh -c 'openssl s_client -connect 127.0.0.1:8140 </dev/null'
}

run_over()
{
	! on "$1" test -e /opt/puppetlabs/puppet/cache/state/agent_catalog_run.lock
}

# Four more certificates, to be cleaned all at once.
pair_agents()
{
	local i

	if [ "$version" != 5 ]; then
		on mom puppetserver ca generate --certname \
		    "$(printf ',agent%d.cmregen.test' 1 2 3 4 | cut -c 2-)"
		return
	fi
	for i in 1 2 3 4; do
		on mom puppet cert generate "agent$i.cmregen.test" || return 1
	done
}

agent_run()
{
	# shellcheck disable=SC2016 # expanded there
	T=200 on node sh -c 'puppet agent --test; s=$?; [ $s = 0 ] || [ $s = 2 ]'
}

# pair_sign: the first certificate of the compile master, made as an
# administrator makes it.
pair_sign()
{
	if [ "$version" = 5 ]; then
		sign="puppet cert --allow-dns-alt-names sign"
	else
		on mom puppetserver ca setup --subject-alt-names mom,puppet ||
		    return 1
		sign="puppetserver ca sign --certname"
	fi
	T=300 on mom systemctl enable --now pe-puppetserver &&
	wait_for 120 tls_answers mom && pair_agents && on node systemctl start puppet &&
	wait_for 120 on mom test -e "$cadir/requests/$node.pem" &&
	on mom $sign "$node" || return 1
	# The daemon may hold either lock for a moment.
	wait_for 300 agent_run && T=300 on node systemctl enable --now $units
}

# pair_build: the layers of both hosts with the first certificate signed.
pair_build()
{
	local h id

	id=$(sed '/^# pair_build/,$d' "$here/pair.sh" | cksum; echo "$packages")
	[ "$id" != "$(cat "$cache/$suite/pair.id" 2>/dev/null)" ] || return 0
	say "$version: building the pair"
	rm -rf --one-file-system "$cache/$suite/mom" "$cache/$suite/node" \
	    "$cache/$suite/pair.id"
	net_up || return 1
	for h in mom node; do
		host_mount $h "$cache/$suite/root" &&
		layout $h >>"$work/log" 2>&1 && host_start $h || return 1
	done
	pair_sign >>"$work/log" 2>&1 || return 1
	for h in node mom; do
		T=60 on $h systemctl stop $units
		host_stop $h 30
	done
	pair_down
	for h in mom node; do
		mkdir -p "$cache/$suite/$h"
		rm -f "$work/$h/puppetlabs/puppet/ssl/ssl.lock"
		mv "$work/$h/upper" "$work/$h/puppetlabs" \
		    "$cache/$suite/$h/" || return 1
		rm -rf "${work:?}/$h"
	done
	printf '%s\n' "$id" >"$cache/$suite/pair.id"
}

# pair_up: this run's two hosts, on top of the signed layers.
pair_up()
{
	local h

	net_up || return 1
	for h in mom node; do
		mkdir -p "$work/$h"
		cp -a "$cache/$suite/$h/puppetlabs" "$work/$h/puppetlabs" &&
		host_mount $h "$cache/$suite/$h/upper" "$cache/$suite/root" &&
		host_start $h || return 1
	done
	wait_for 600 tls_answers mom && wait_for 600 tls_answers node
}

# light_server: a stand-in for the compile master's server that needs the same
# files, as the same user, and serves the same certificate, but starts in a
# second instead of twenty; real_server takes it away.
light_server()
{
	mkdir -p "$work/node/root/etc/systemd/system/pe-puppetserver.service.d"
	cat >"$work/node/root/etc/systemd/system/pe-puppetserver.service.d/light.conf" <<-END
	[Service]
	ExecStartPre=
	ExecStart=
	ExecStart=/usr/bin/openssl s_server -quiet -www -accept 8140 \
	    -cert $ssl/certs/$node.pem -key $ssl/private_keys/$node.pem \
	    -CAfile $ssl/certs/ca.pem
	ExecStartPost=
	ExecStartPost=/bin/sh -c 'sleep 1; kill -0 \$MAINPID'
	ExecReload=
	END
	on node systemctl daemon-reload
}

real_server()
{
	rm -rf "$work/node/root/etc/systemd/system/pe-puppetserver.service.d"
	on node systemctl daemon-reload
}

# reset [light|real]: both hosts as they were after the first signing. The
# files of the CA are put back under the running server, which reads them at
# each request; the compile master's services are stopped first.
reset()
{
	local cache_dir=/opt/puppetlabs/puppet/cache u was old=$cache/$suite
	local at=$work/node/puppetlabs etc=$work/mom/puppetlabs
	local ca_conf=puppetserver/conf.d/ca.conf

	was=real
	[ ! -e "$work/node/root/etc/systemd/system/pe-puppetserver.service.d" ] ||
	    was=light
	on node sh -c "
		systemctl stop puppet
		systemctl kill -s KILL puppet
		umount /mnt/small $puppetlabs/puppet
		rm -rf /run/cmregen* /run/status /run/long-* /run/planted*
		rm -rf $cache_dir/client_data $cache_dir/state/*.lock
	" 2>/dev/null
	on mom rm -f /run/autosign

	# A server that serves the first certificate already may go on.
	if [ "$was" != "$1" ] || [ "$(served)" != "$serial_old" ]; then
		on node systemctl stop pe-puppetserver
	fi
	find "$at/puppet" -mindepth 1 -delete
	cp -a "$old/node/puppetlabs/puppet/." "$at/puppet/"
	cp -a "$old/node/upper$cache_dir/client_data" \
	    "$work/node/root$cache_dir/"

	find "$etc${cadir#"$puppetlabs"}" -mindepth 1 -delete
	cp -a "$old/mom/puppetlabs${cadir#"$puppetlabs"}/." \
	    "$etc${cadir#"$puppetlabs"}/"
	# Below 6 the CA takes its list of what is revoked from there.
	[ "$version" != 5 ] || cp -p "$old/mom/puppetlabs/puppet/ssl/crl.pem" \
	    "$etc/puppet/ssl/crl.pem"
	find "$etc" "${ours[@]}" -delete
	rm -f "$etc/code/environments/production/manifests/more.pp"
	# What a scenario that failed has left in the settings of the CA.
	if [ "$version" != 5 ] && ! cmp -s "$etc/$ca_conf" \
	    "$old/mom/puppetlabs/$ca_conf"; then
		cp -p "$old/mom/puppetlabs/$ca_conf" "$etc/$ca_conf"
		on mom systemctl stop pe-puppetserver
	fi

	if [ "$was" != "$1" ]; then
		"$1_server"
	fi
	# Not before the run at the daemon's start is over: a scenario that
	# wants a run in progress makes one.
	touch "$work/node/root/run-stamp"
	T=300 on node systemctl start $units &&
	wait_for 120 on node sh -c "
		find $cache_dir/state $cache_dir/public -newer /run-stamp \
		    -name last_run_summary.yaml 2>/dev/null | grep -q . &&
		test ! -e $cache_dir/state/agent_catalog_run.lock" &&
	T=300 on mom systemctl start pe-puppetserver &&
	wait_for 120 tls_answers mom && wait_for 120 tls_answers node
}

# What judge.sh compares with, read once.
pair_known()
{
	serial_old=$(serial_of node "$ssl/certs/$node.pem")
	alt_old=$(alt_names node "$ssl/certs/$node.pem")
	tree node "$ssl" >"$work/tree.old"
	[ -n "$serial_old" ] && [ -n "$alt_old" ] &&
	[ "$(wc -l <"$work/tree.old")" -gt 10 ]
}
